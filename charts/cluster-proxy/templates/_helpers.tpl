{{/*
Fills in values that are missing. `helm upgrade --reuse-values` leaves away the defaults of values.yaml that the release before did
not have, and `--set NAME=null` takes them away. Every template begins with it.
*/}}
{{- define "cluster-proxy.fillValues" -}}
{{- include "cluster-proxy.fill" (dict "values" .Values "defaults" (include "cluster-proxy.defaults" . | fromYaml)) }}
{{- end }}
{{- define "cluster-proxy.fill" -}}
{{- $values := .values }}
{{- range $key, $default := .defaults }}
{{- $value := index $values $key }}
{{- if kindIs "invalid" $value }}{{ $_ := set $values $key $default }}
{{- else if and (kindIs "map" $default) (kindIs "map" $value) }}{{ include "cluster-proxy.fill" (dict "values" $value "defaults" $default) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The tag of every image of the project. */}}
{{- define "cluster-proxy.tag" -}}
{{- $tag := .Values.tag | default (print "v" .Chart.Version) }}
{{- if and (eq .Values.image "cluster-proxy") (regexMatch "^v?0\\.([0-9]|1[01])\\." $tag) }}
{{- fail (printf "tag: %s is an image of the earlier Cluster Proxy, whose programs do not take these arguments; leave tag away, or name the image of this version with registry, image and tag" $tag) }}
{{- end }}
{{- $tag }}
{{- end }}

{{/* The image of brokers or agents, without tag. One image holds all programs: where none is named, it is the manager's. */}}
{{- define "cluster-proxy.programImage" -}}
{{- $named := index . 1 }}
{{- with index . 0 }}
{{- if eq $named "quay.io/open-cluster-management/cluster-proxy" }}{{ .Values.registry }}/{{ .Values.image }}{{ else }}{{ $named }}{{ end }}
{{- end }}
{{- end }}

{{/* Labels of every object; never part of a selector. */}}
{{- define "cluster-proxy.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
app.kubernetes.io/name: cluster-proxy
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* "true" where brokers can tell each other who holds a cluster. */}}
{{- define "cluster-proxy.externalRedis" -}}
{{- if or .Values.redis.external.url .Values.redis.external.secretName }}true{{ end }}
{{- end }}
{{- define "cluster-proxy.hasRedis" -}}
{{- if or .Values.redis.enabled (include "cluster-proxy.externalRedis" .) }}true{{ end }}
{{- end }}

{{/* How many brokers. Several that know nothing of each other would each reach half of the clusters: refused. */}}
{{- define "cluster-proxy.brokers" -}}
{{- $own := .Values.proxyServer.replicas }}
{{- $redis := include "cluster-proxy.hasRedis" . }}
{{- $wanted := .Values.replicas | int }}
{{- if not (kindIs "invalid" $own) }}
{{- if and (gt ($own | int) 1) (not $redis) }}
{{- fail (printf "proxyServer.replicas is %d, but several brokers need Redis to find each other's clusters: set redis.enabled=true, or redis.external.url, or proxyServer.replicas=1" ($own | int)) }}
{{- end }}
{{- $own | int }}
{{- else if $redis }}
{{- max 2 $wanted }}
{{- else if gt $wanted 1 }}
{{- fail (printf "replicas is %d, but several brokers need Redis to find each other's clusters: set redis.enabled=true, or redis.external.url, or proxyServer.replicas=1" $wanted) }}
{{- else }}1{{ end }}
{{- end }}

{{/* "true" where the chart brings its own Redis. */}}
{{- define "cluster-proxy.ownRedis" -}}
{{- if and .Values.redis.enabled (not (include "cluster-proxy.externalRedis" .)) (gt (include "cluster-proxy.brokers" . | int) 1) }}true{{ end }}
{{- end }}

{{/* What the manager is told of Redis. Not in the ManagedProxyConfiguration, whose CRD may be older than this chart. */}}
{{- define "cluster-proxy.redisArgs" -}}
{{- if gt (include "cluster-proxy.brokers" . | int) 1 }}
{{- with .Values.redis.external }}
{{- if and .url .secretName }}
{{- fail "redis.external.url and redis.external.secretName are both set, keep one: a URL with a password belongs into the Secret" }}
{{- end }}
{{- if .url }}
- --redis-url={{ .url }}
{{- else }}
- --redis-secret-name={{ .secretName | default "cluster-proxy-redis" }}
{{- end }}
{{- with .caSecretName }}
- --redis-ca-secret-name={{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The destinations of agents: proxyAgent.allow, and the Services that HTTP clients may reach. For a port with a name, every port is
allowed here, because only the cluster knows its number. The brokers allow only the named port.
*/}}
{{- define "cluster-proxy.allowed" -}}
{{- $allowed := .Values.proxyAgent.allow }}
{{- if .Values.enableServiceProxy }}
{{- range .Values.exposedServices }}
{{- $port := toString (default "*" .port) }}
{{- $allowed = append $allowed (printf "%s.%s.svc:%s" .service .namespace (ternary $port "*" (regexMatch "^[0-9]+$" $port))) }}
{{- end }}
{{- end }}
{{- with $allowed }}{{ toYaml (uniq .) }}{{ end }}
{{- end }}

{{/* "true" where ClusterProfiles get access providers. The second name is that of Cluster Proxy 0.10. */}}
{{- define "cluster-proxy.hasClusterProfiles" -}}
{{- with .Values.featureGates }}{{ if or .clusterProfile .clusterProfileAccessProvider }}true{{ end }}{{ end }}
{{- end }}

{{/* How agents reach the brokers. */}}
{{- define "cluster-proxy.entrypoint" -}}
{{- with .Values.proxyServer }}
{{- if .entrypointAddress }}Hostname
{{- else if .entrypointIngress.host }}Ingress
{{- else if .entrypointLoadBalancer }}LoadBalancerService
{{- else }}PortForward
{{- end }}
{{- end }}
{{- end }}

{{/* What every container of the project may do: nothing. */}}
{{- define "cluster-proxy.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}
{{/*
No user and no group: the image names its user by number, and OpenShift gives each namespace users of its own and refuses others.
*/}}
{{- define "cluster-proxy.podSecurity" -}}
runAsNonRoot: true
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* The user of the bundled Redis, whose image runs as root by default. Empty: the platform chooses one. */}}
{{- define "cluster-proxy.redisUser" -}}
{{- $user := toString .Values.redis.runAsUser }}
{{- if eq $user "auto" }}{{ if not (.Capabilities.APIVersions.Has "security.openshift.io/v1") }}65532{{ end }}
{{- else if ne $user "none" }}{{ $user | int64 }}
{{- end }}
{{- end }}

{{/*
Egress to DNS and to kube-apiservers. A policy is applied to the address behind the Service `kubernetes`, so the port is the one
that the kube-apiserver itself listens on: 6443, 8443, 16443 or any other.
*/}}
{{- define "cluster-proxy.egressToApiserver" -}}
- ports:
    - { protocol: UDP, port: 53 }
    - { protocol: TCP, port: 53 }
    - { protocol: UDP, port: 5353 }
    - { protocol: TCP, port: 5353 }
- ports:
    {{- range .Values.networkPolicies.apiServerPorts }}
    - { protocol: TCP, port: {{ int . }} }
    {{- else }}
    - { protocol: TCP }
    {{- end }}
{{- end }}
