{{/* Names and labels. */}}
{{- define "penstock.name" -}}{{ .Release.Name }}{{- end }}

{{- define "penstock.selector" -}}
app.kubernetes.io/name: penstock
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "penstock.labels" -}}
app.kubernetes.io/name: penstock
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "penstock.secret" -}}{{ .Values.stores.existingSecret | default (printf "%s-config" .Release.Name) }}{{- end }}

{{- define "penstock.image" -}}
{{- $tagged := printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{ with .Values.image.digest }}{{ printf "%s@%s" $tagged . | quote }}{{ else }}{{ $tagged | quote }}{{ end }}
{{- end }}

{{/* The server that the program uses, or what says that there are several. */}}
{{- define "penstock.warehouse" -}}
{{- if include "penstock.isCluster" . -}}cluster:
{{- else if .Values.clickhouse.install -}}http://chi-{{ .Release.Name }}-main-0-0:8123
{{- else -}}{{ required "clickhouse.url: say where the server is, or let the chart install one (clickhouse.install)" .Values.clickhouse.url }}
{{- end -}}
{{- end }}

{{- define "penstock.isCluster" -}}
{{- with .Values.clickhouse }}{{ if and .install (gt (mul .shards .replicas) 1) }}yes{{ end }}{{ end -}}
{{- end }}

{{/* Of each shard the first replicas take inserts; which of them are read: the others, or the same where there are none. */}}
{{- define "penstock.firstReader" -}}
{{- with .Values.clickhouse }}{{ if gt (int .replicas) (int .writers) }}{{ int .writers }}{{ else }}0{{ end }}{{ end -}}
{{- end }}

{{- define "penstock.cluster" -}}
{{- $name := .Release.Name }}
{{- $writers := min .Values.clickhouse.writers .Values.clickhouse.replicas | int }}
[cluster]
name = "main"
readers = "readers"
shards = [
{{- range $shard := until (int .Values.clickhouse.shards) }}
  "{{ range $replica := until $writers }}{{ if $replica }},{{ end }}http://chi-{{ $name }}-main-{{ $shard }}-{{ $replica }}:8123{{ end }}",
{{- end }}
]
replicas = [
{{- range $shard := until (int .Values.clickhouse.shards) }}
{{- range $replica := untilStep (include "penstock.firstReader" $ | int) (int $.Values.clickhouse.replicas) 1 }}
  "http://chi-{{ $name }}-main-{{ $shard }}-{{ $replica }}:8123",
{{- end }}
{{- end }}
]
{{- /* More than half of two is both: one that is away would keep all from being stored. */}}
{{- if ge (int .Values.clickhouse.replicas) 3 }}
quorum = "auto"
{{- end }}
{{- end }}

{{- define "penstock.config" -}}
listen = "0.0.0.0:7070"
mesh_listen = "0.0.0.0:7080"
ops_listen = "0.0.0.0:7071"
log = {{ printf "kafka://%s/%s" .Values.stores.kafka .Values.stores.topic | quote }}
log_partitions = {{ int .Values.stores.partitions }}
warehouse = {{ include "penstock.warehouse" . | quote }}
warehouse_user = {{ .Values.clickhouse.user | quote }}
warehouse_password = {{ required "clickhouse.password: is needed" .Values.clickhouse.password | quote }}
metastore = {{ required "stores.metastore: say postgres://USER:PASSWORD@HOST/DATABASE" .Values.stores.metastore | quote }}
cache = {{ required "stores.cache: say redis://:PASSWORD@HOST:PORT" .Values.stores.cache | quote }}

[upstreams]
{{- range list "ingest" "query" "metrics" "admin" }}
{{ . }} = {{ printf "%s-%s:7080" $.Release.Name . | quote }}
{{- end }}

[mesh_tls]
authority = "/etc/penstock/identity/ca.crt"
certificate = "/etc/penstock/identity/tls.crt"
key = "/etc/penstock/identity/tls.key"
{{- with .Values.stores.kafkaProperties }}

[kafka.properties]
{{- range $name, $value := . }}
{{ $name | quote }} = {{ $value | quote }}
{{- end }}
{{- end }}
{{- if include "penstock.isCluster" . }}
{{ include "penstock.cluster" . }}
{{- end }}
{{- if .Values.clickhouse.cold.endpoint }}

[cold]
to = "policy"
days = {{ int .Values.clickhouse.cold.days }}
{{- end }}
{{- with .Values.extraConfig }}

{{ . }}
{{- end }}
{{ end }}

{{/* What the gateway has beside that: its files are not the others'. */}}
{{- define "penstock.edge" -}}
{{- with .Values.gateway }}
{{- if or .tlsSecrets .proxies }}
[edge]
proxies = {{ toJson .proxies }}
{{- range .tlsSecrets }}

[[edge.certificates]]
certificate = {{ printf "/etc/penstock/edge/%s/tls.crt" . | quote }}
key = {{ printf "/etc/penstock/edge/%s/tls.key" . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Takes root, role and spec (the role's values); the pods of a Deployment or a StatefulSet. */}}
{{- define "penstock.pod" -}}
metadata:
  labels:
    {{- include "penstock.selector" . | nindent 4 }}
  annotations:
    # Other settings are other pods; certificates are read again by themselves.
    checksum/config: {{ include (print .root.Template.BasePath "/config.yaml") .root | sha256sum }}
spec:
  serviceAccountName: {{ .root.Release.Name }}
  automountServiceAccountToken: false
  # Draining takes up to server.drain_seconds (20), and the pipeline commits what it works on.
  terminationGracePeriodSeconds: 60
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile: { type: RuntimeDefault }
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "penstock.selector" $ | nindent 10 }}
    {{- end }}
  {{- if .spec.spot }}
  {{- with .root.Values.spot }}
  tolerations:
    - { key: {{ .taint.key }}, operator: Equal, value: {{ .taint.value | quote }}, effect: {{ .taint.effect }} }
  affinity:
    nodeAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          preference:
            matchExpressions:
              - { key: {{ .label.key }}, operator: In, values: [{{ .label.value | quote }}] }
  {{- end }}
  {{- end }}
  {{- if .root.Values.upgrade.inOrder }}
  initContainers:
    - name: turn
      image: {{ include "penstock.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: [turn]
      args: [{{ .role }}, {{ .root.Release.Name }}-processes, $(POD_IP)]
      env:
        - name: POD_IP
          valueFrom: { fieldRef: { fieldPath: status.podIP } }
      resources: { requests: { cpu: 10m, memory: 64Mi }, limits: { memory: 128Mi } }
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
  {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ include "penstock.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: [serve, --config, /etc/penstock/config/penstock.toml, --role, {{ .role }}]
      ports:
        - { name: ops, containerPort: 7071 }
        {{- if eq .role "gateway" }}
        - { name: api, containerPort: 7070 }
        {{- else if ne .role "pipeline" }}
        - { name: mesh, containerPort: 7080 }
        {{- end }}
      # The edge is asked by the health service of gRPC, as its callers' balancers do, where a kubelet can: it speaks neither TLS nor the PROXY
      # protocol. Of the other roles that service demands a role's certificate. Their /readyz says the same.
      startupProbe:
        httpGet: { path: /readyz, port: ops }
        periodSeconds: 2
        failureThreshold: 90
      readinessProbe:
        {{- if and (eq .role "gateway") (not .root.Values.gateway.tlsSecrets) (not .root.Values.gateway.proxies) }}
        grpc: { port: 7070 }
        {{- else }}
        httpGet: { path: /readyz, port: ops }
        {{- end }}
        periodSeconds: 5
        timeoutSeconds: 2
      livenessProbe:
        httpGet: { path: /livez, port: ops }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      resources: {{ toYaml .spec.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        - { name: config, mountPath: /etc/penstock/config, readOnly: true }
        - { name: identity, mountPath: /etc/penstock/identity, readOnly: true }
        - { name: data, mountPath: /var/lib/penstock }
        - { name: tmp, mountPath: /tmp }
        {{- if eq .role "gateway" }}
        {{- range .root.Values.gateway.tlsSecrets }}
        - { name: edge-{{ . }}, mountPath: /etc/penstock/edge/{{ . }}, readOnly: true }
        {{- end }}
        {{- end }}
  volumes:
    - name: config
      secret:
        secretName: {{ include "penstock.secret" .root }}
        defaultMode: 0440
        items: [{ key: {{ eq .role "gateway" | ternary "gateway.toml" "penstock.toml" }}, path: penstock.toml }]
    - name: identity
      secret: { secretName: {{ .root.Release.Name }}-{{ .role }}-identity, defaultMode: 0440 }
    - { name: tmp, emptyDir: {} }
    {{- if eq .role "gateway" }}
    {{- range .root.Values.gateway.tlsSecrets }}
    - name: edge-{{ . }}
      secret: { secretName: {{ . }}, defaultMode: 0440 }
    {{- end }}
    {{- end }}
    {{- if ne .role "admin" }}
    - { name: data, emptyDir: {} }
    {{- end }}
{{- end }}
