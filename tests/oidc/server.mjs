// An OAuth server that is not ours, at the addresses that Zoom's has: refresh tokens rotate, and one that is used twice
// ends its grant. `GET /log` tells what the token endpoint was asked.
//
// node server.mjs '{"client_id", "client_secret", "redirect_uri", "life", "meetings_url"}'; prints its own address.

import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const given = JSON.parse(process.argv[2]);
const scopes = 'openid email meeting:write:meeting';
const log = [];
const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const url = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(url, {
  clients: [{
    client_id: given.client_id,
    client_secret: given.client_secret,
    redirect_uris: [given.redirect_uri],
    grant_types: ['authorization_code', 'refresh_token', 'account_credentials'],
  }],
  scopes: scopes.split(' '),
  claims: { openid: ['sub'], email: ['email', 'meetings_url', 'groups', 'places'] },
  features: { devInteractions: { enabled: false }, revocation: { enabled: true }, clientCredentials: { enabled: true } },
  routes: {
    authorization: '/oauth/authorize', token: '/oauth/token', revocation: '/oauth/revoke', userinfo: '/v2/users/me',
  },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, sub) => ({
    accountId: sub,
    claims: () => ({
      sub, email: `${sub}@example.org`, meetings_url: given.meetings_url, groups: [`friends-of-${sub}`],
      places: sub === 'anna' ? ['*'] : [`company-of-${sub}`],
    }),
  }),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: () => true,
  ttl: {
    AccessToken: given.life, ClientCredentials: given.life, RefreshToken: 86400, Grant: 86400, Session: 86400,
    Interaction: 600, IdToken: 60, AuthorizationCode: 60,
  },
  cookies: { keys: ['for-tests-only'] },
  renderError: (ctx, out) => { ctx.type = 'html'; ctx.body = `<h1>${out.error}</h1>`; },
});

// What only Zoom has: a token for an app of one's own account.
provider.registerGrantType('account_credentials', async (ctx) => {
  const { client, params } = ctx.oidc;
  if (params.account_id !== 'our-account') ctx.throw(400, 'invalid_request');
  const token = new provider.ClientCredentials({ client, scope: 'meeting:write:meeting' });
  ctx.body = {
    access_token: await token.save(), token_type: 'bearer', expires_in: token.expiration, scope: token.scope,
  };
}, ['account_id']);

provider.use(async (ctx, next) => {
  await next();
  if (ctx.path !== '/oauth/token') return;
  const { grant_type: asked, refresh_token: with_ } = ctx.oidc?.params ?? {};
  log.push({ asked, with: with_ ?? null, status: ctx.status, error: ctx.body?.error ?? null, at: Date.now() });
});

const page = (title, uid, fields) => `<!doctype html><title>${title}</title><h1>${title}</h1>
<form method="post" action="/interaction/${uid}">${fields}</form>`;

async function interact(request, response) {
  const { uid, prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (request.method === 'GET') {
    response.setHeader('content-type', 'text/html');
    response.end(prompt.name === 'login'
      ? page('Sign in', uid, '<input name="login" required><button name="do" value="login">Sign in</button>')
      : page('Consent', uid, '<button name="do" value="allow">Allow</button><button name="do" value="deny">Deny</button>'));
    return;
  }
  let body = '';
  for await (const chunk of request) body += chunk;
  const form = new URLSearchParams(body);
  const done = (result) => provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
  if (form.get('do') === 'login') { await done({ login: { accountId: form.get('login') } }); return; }
  if (form.get('do') === 'deny') { await done({ error: 'access_denied' }); return; }
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(scopes);
  await done({ consent: { grantId: await grant.save() } });
}

const answer = provider.callback();
server.on('request', (request, response) => {
  if (request.url === '/log') { response.end(JSON.stringify(log)); return; }
  if (request.url.startsWith('/interaction/')) {
    interact(request, response).catch((error) => { response.statusCode = 400; response.end(String(error)); });
    return;
  }
  answer(request, response);
});
console.log(url);
