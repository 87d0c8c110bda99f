"""Keys that tokens for Jitsi are signed with, as people enter them."""

import warnings

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc.errors import SecurityWarning
from joserfc.jwk import OctKey
from pydantic import SecretStr

RSA_BITS = 2048


def hmac_key(secret: SecretStr) -> OctKey:
    """The key of a secret. Raises ValueError for one that is the public half of a key pair."""
    with warnings.catch_warnings():
        # A short secret is the server's, and JitsiSettings.warnings tells the admin.
        warnings.simplefilter("ignore", SecurityWarning)
        return OctKey.import_key(secret.get_secret_value().encode())


def secret(value: SecretStr) -> SecretStr:
    """A server's app_secret. Raises ValueError, in words for people."""
    try:
        hmac_key(value)
    except ValueError:
        raise ValueError("secret holds a public key: give the server's app_secret.") from None
    return value


def private_key(value: SecretStr) -> SecretStr:
    """An RSA key in PEM form, with real line ends. Raises ValueError, in words for people."""
    # Environment files hold line ends as two characters.
    pem = value.get_secret_value().replace("\\n", "\n").strip() + "\n"
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise ValueError("private_key has a passphrase: give it without.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("private_key is no private key in PEM form.") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("private_key must be an RSA key.")
    if key.key_size < RSA_BITS:
        raise ValueError(f"private_key must have at least {RSA_BITS} bits.")
    return SecretStr(pem)
