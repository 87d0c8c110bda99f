{{- define "vello-meetings.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "vello-meetings.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "vello-meetings.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "vello-meetings.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Labels of a component: (list $ "web"). */ -}}
{{- define "vello-meetings.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "vello-meetings.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "vello-meetings.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "vello-meetings.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "vello-meetings.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default (index . 1) $image.tag }}
{{- end }}
{{- end }}

{{- define "vello-meetings.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "vello-meetings.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "vello-meetings.host" -}}
{{- (urlParse .Values.publicUrl).hostname }}
{{- end }}

{{- define "vello-meetings.publicPaths" -}}
{{- if eq .Values.expose "all" }}/{{ else }}/webhooks,/m,/h,/brand,/static,/errors,/connect,/login,/logout,/language{{ end }}
{{- end }}

{{- /* Everywhere but private addresses. */ -}}
{{- define "vello-meetings.internet" -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, 100.64.0.0/10]
- ipBlock:
    cidr: "::/0"
    except: ["fc00::/7", "fe80::/10"]
{{- end }}

{{- define "vello-meetings.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "vello-meetings.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* A variable from a Secret: (list NAME secret key optional). */ -}}
{{- define "vello-meetings.secretEnv" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
      {{- if index . 3 }}
      optional: true
      {{- end }}
{{- end }}

{{- /* What the service and its test need to know of Vello. */ -}}
{{- define "vello-meetings.velloEnv" -}}
- name: PUBLIC_URL
  value: {{ .Values.publicUrl | quote }}
{{- with .Values.endpointUrl }}
- name: VELLO_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{ include "vello-meetings.secretEnv" (list "VELLO_WEBHOOK_TOKEN" .Values.auth.existingSecret .Values.auth.webhookTokenKey false) }}
{{- end }}

{{- define "vello-meetings.smtpTls" -}}
{{ default (ternary "implicit" "starttls" (eq (int .port) 465)) .tls }}
{{- end }}

{{- define "vello-meetings.smtpPort" -}}
{{ .port | default (get (dict "starttls" 587 "implicit" 465 "none" 25) (include "vello-meetings.smtpTls" .)) }}
{{- end }}

{{- define "vello-meetings.env" -}}
{{- $values := .Values -}}
{{ include "vello-meetings.velloEnv" . }}
{{ include "vello-meetings.secretEnv" (list "ADMIN_TOKEN" .Values.auth.existingSecret .Values.auth.adminTokenKey false) }}
{{ include "vello-meetings.secretEnv" (list "SECRET_KEYS" .Values.auth.existingSecret .Values.auth.secretKeysKey false) }}
{{- if .Values.valkey.enabled }}
{{ include "vello-meetings.secretEnv" (list "VALKEY_PASSWORD" (default .Values.auth.existingSecret .Values.valkey.existingSecret) .Values.valkey.passwordKey false) }}
- name: REDIS_URL
  value: redis://:$(VALKEY_PASSWORD)@{{ include "vello-meetings.fullname" . }}-valkey:6379/0
{{- else if .Values.redis.existingSecret }}
{{ include "vello-meetings.secretEnv" (list "REDIS_URL" .Values.redis.existingSecret .Values.redis.urlKey false) }}
{{- else }}
- name: REDIS_URL
  value: {{ .Values.redis.url | quote }}
{{- end }}
- name: REDIS_PREFIX
  value: {{ .Values.redis.prefix | quote }}
- name: ANSWER_DEADLINE
  value: {{ .Values.answerDeadline | quote }}
- name: SWEEP_HOUR
  value: {{ .Values.sweepHour | quote }}
- name: LEASE_SECONDS
  value: {{ .Values.leaseSeconds | quote }}
- name: RETENTION_DAYS
  value: {{ .Values.retentionDays | quote }}
- name: DELIVERY_LOG_DAYS
  value: {{ .Values.deliveryLog.days | quote }}
- name: DELIVERY_LOG_LINES
  value: {{ int64 .Values.deliveryLog.lines | quote }}
- name: LOG_LEVEL
  value: {{ .Values.logLevel }}
- name: LOG_FORMAT
  value: {{ .Values.logFormat }}
{{- with .Values.zoom.existingSecret }}
{{ include "vello-meetings.secretEnv" (list "ZOOM_CLIENT_ID" . $values.zoom.clientIdKey true) }}
{{ include "vello-meetings.secretEnv" (list "ZOOM_CLIENT_SECRET" . $values.zoom.clientSecretKey true) }}
{{ include "vello-meetings.secretEnv" (list "ZOOM_WEBHOOK_SECRET" . $values.zoom.webhookSecretKey true) }}
{{- end }}
{{- with .Values.google.existingSecret }}
{{ include "vello-meetings.secretEnv" (list "GOOGLE_CLIENT_ID" . $values.google.clientIdKey true) }}
{{ include "vello-meetings.secretEnv" (list "GOOGLE_CLIENT_SECRET" . $values.google.clientSecretKey true) }}
{{ include "vello-meetings.secretEnv" (list "GOOGLE_SERVICE_ACCOUNT_KEY" . $values.google.serviceAccountKeyKey true) }}
{{- end }}
{{- with .Values.oidc.existingSecret }}
{{ include "vello-meetings.secretEnv" (list "OIDC_CLIENT_ID" . $values.oidc.clientIdKey false) }}
{{ include "vello-meetings.secretEnv" (list "OIDC_CLIENT_SECRET" . $values.oidc.clientSecretKey false) }}
{{- end }}
{{- with .Values.notices.smtp }}
{{- if .host }}
{{- range $name, $value := dict "SMTP_HOST" .host "SMTP_PORT" (include "vello-meetings.smtpPort" .) "SMTP_TLS" (include "vello-meetings.smtpTls" .) "SMTP_FROM" .from "NOTICE_EMAILS" $values.notices.emails }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- if .existingSecret }}
{{ include "vello-meetings.secretEnv" (list "SMTP_USERNAME" .existingSecret .usernameKey true) }}
{{ include "vello-meetings.secretEnv" (list "SMTP_PASSWORD" .existingSecret .passwordKey true) }}
{{ include "vello-meetings.secretEnv" (list "SMTP_CA" .existingSecret .caKey true) }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.notices.webhook }}
{{- if .existingSecret }}
{{ include "vello-meetings.secretEnv" (list "NOTICE_WEBHOOK_URL" .existingSecret .urlKey false) }}
{{ include "vello-meetings.secretEnv" (list "NOTICE_WEBHOOK_SECRET" .existingSecret .secretKey false) }}
{{- end }}
{{- end }}
- name: NOTICE_LANGUAGE
  value: {{ .Values.notices.language }}
{{- range $name, $value := dict "JITSI_URL" .Values.jitsi.url "ZOOM_OAUTH_URL" .Values.zoom.oauthUrl "ZOOM_API_URL" .Values.zoom.apiUrl "GOOGLE_SERVICE_ACCOUNT_SUBJECT" .Values.google.serviceAccountSubject "GOOGLE_AUTHORIZE_URL" .Values.google.authorizeUrl "GOOGLE_TOKEN_URL" .Values.google.tokenUrl "GOOGLE_REVOKE_URL" .Values.google.revokeUrl "GOOGLE_CALENDAR_URL" .Values.google.calendarUrl "GOOGLE_MEET_URL" .Values.google.meetUrl "OIDC_ISSUER" .Values.oidc.issuer "OIDC_ALLOWED" .Values.oidc.allowed "OIDC_COMPANIES" .Values.oidc.companies "TRUSTED_PROXIES" .Values.trustedProxies }}
{{- if $value }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.extraEnv }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- /* One sentence for what the schema cannot say. */ -}}
{{- define "vello-meetings.check" -}}
{{- $v := .Values -}}
{{- if not $v.publicUrl }}{{ fail "publicUrl is not set: give the address people and Vello reach, such as https://meetings.example.com" }}{{ end }}
{{- if not $v.auth.existingSecret }}{{ fail "auth.existingSecret is not set: make a Secret with the keys webhook-token, admin-token and secret-keys, and name it there (docs/install.md)" }}{{ end }}
{{- $stores := 0 }}
{{- if $v.valkey.enabled }}{{ $stores = add1 $stores }}{{ end }}
{{- if $v.redis.existingSecret }}{{ $stores = add1 $stores }}{{ end }}
{{- if $v.redis.url }}{{ $stores = add1 $stores }}{{ end }}
{{- if ne (int $stores) 1 }}{{ fail "name exactly one store: redis.existingSecret, redis.url or valkey.enabled" }}{{ end }}
{{- if and $v.notices.smtp.host (not (and $v.notices.smtp.from $v.notices.emails)) }}{{ fail "notices.smtp.host is set: give notices.smtp.from and notices.emails as well" }}{{ end }}
{{- if and $v.notices.emails (not $v.notices.smtp.host) }}{{ fail "notices.emails is set: give notices.smtp.host and notices.smtp.from as well" }}{{ end }}
{{- if contains "@" $v.redis.url }}{{ fail "redis.url holds a password: put the URL into a Secret and name it in redis.existingSecret" }}{{ end }}
{{- if and (or $v.ingress.enabled $v.httpRoute.enabled) (trimSuffix "/" (urlParse $v.publicUrl).path) }}{{ fail "publicUrl has a path: set up your own proxy that takes it away, or leave the path out" }}{{ end }}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}{{ fail "httpRoute.parentRefs is empty: name the Gateway that should serve the route" }}{{ end }}
{{- if and $v.metrics.serviceMonitor.enabled (not $v.metrics.enabled) }}{{ fail "metrics.serviceMonitor.enabled needs metrics.enabled" }}{{ end }}
{{- if lt (int $v.terminationGracePeriodSeconds) (add $v.preStopSeconds 30 | int) }}{{ fail "terminationGracePeriodSeconds is too short: it must be at least preStopSeconds + 30" }}{{ end }}
{{- end }}

{{- /* A deployment: (list $ component role replicas resources); no replicas where something else sets them. */ -}}
{{- define "vello-meetings.deployment" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}{{ $role := index . 2 }}{{ $replicas := index . 3 }}{{ $resources := index . 4 -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "vello-meetings.fullname" $root }}{{ if ne $component "web" }}-{{ $component }}{{ end }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "vello-meetings.labels" (list $root $component) | nindent 4 }}
spec:
  {{- if $replicas }}
  replicas: {{ $replicas }}
  {{- end }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
  selector:
    matchLabels:
      {{- include "vello-meetings.selector" (list $root $component) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "vello-meetings.labels" (list $root $component) | nindent 8 }}
        {{- with $root.Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/env: {{ include "vello-meetings.env" $root | sha256sum }}
        {{- with $root.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "vello-meetings.serviceAccountName" $root }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "vello-meetings.podSecurity" 10001 | nindent 8 }}
      terminationGracePeriodSeconds: {{ $root.Values.terminationGracePeriodSeconds }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "vello-meetings.selector" (list $root $component) | nindent 14 }}
      containers:
        - name: vello-meetings
          image: {{ include "vello-meetings.image" (list $root.Values.image $root.Chart.AppVersion) | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [serve, --host, "0.0.0.0", --port, "8080", --metrics-port, "9090", --role, {{ $role }}]
          ports:
            - name: http
              containerPort: 8080
            - name: metrics
              containerPort: 9090
          env:
            {{- include "vello-meetings.env" $root | nindent 12 }}
          {{- with $root.Values.extraEnvFrom }}
          envFrom:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- if $root.Values.preStopSeconds }}
          lifecycle:
            preStop:
              exec:
                command: [python, -c, "import time; time.sleep({{ $root.Values.preStopSeconds }})"]
          {{- end }}
          startupProbe:
            httpGet: {path: /livez, port: http}
            periodSeconds: 2
            failureThreshold: 30
          livenessProbe:
            httpGet: {path: /livez, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            periodSeconds: 5
            timeoutSeconds: 5
            failureThreshold: 2
          resources:
            {{- toYaml $resources | nindent 12 }}
          securityContext:
            {{- include "vello-meetings.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            {{- with $root.Values.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {}
        {{- with $root.Values.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
{{- end }}

{{- define "vello-meetings.meta" -}}
{{- $root := index . 0 -}}
metadata:
  name: {{ include "vello-meetings.fullname" $root }}{{ index . 2 }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "vello-meetings.labels" (list $root (index . 1)) | nindent 4 }}
{{- end }}
