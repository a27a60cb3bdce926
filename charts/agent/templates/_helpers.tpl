{{/*
Fills in values that are missing. `helm upgrade --reuse-values` leaves away the defaults of values.yaml that the release before did
not have, and `--set NAME=null` takes them away. Every template begins with it.
*/}}
{{- define "culvert-agent.fillValues" -}}
{{- include "culvert-agent.fill" (dict "values" .Values "defaults" (include "culvert-agent.defaults" . | fromYaml)) }}
{{- end }}
{{- define "culvert-agent.fill" -}}
{{- $values := .values }}
{{- range $key, $default := .defaults }}
{{- $value := index $values $key }}
{{- if kindIs "invalid" $value }}{{ $_ := set $values $key $default }}
{{- else if and (kindIs "map" $default) (kindIs "map" $value) }}{{ include "culvert-agent.fill" (dict "values" $value "defaults" $default) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name of every object: culvert-agent, with the release's name in front where that says something else. */}}
{{- define "culvert-agent.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "culvert-agent.selector" -}}
app.kubernetes.io/name: culvert-agent
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "culvert-agent.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{ include "culvert-agent.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* The Secret with the token. */}}
{{- define "culvert-agent.tokenSecret" -}}
{{- if and .Values.token.secretName .Values.token.value }}
{{- fail "token.secretName and token.value are both set, keep one" }}
{{- else if not (or .Values.token.secretName .Values.token.value) }}
{{- fail "token.secretName is required: `culvert token agent --cluster NAME > token` makes a token, `kubectl create secret generic culvert-token --from-file=token` a Secret of it, and token.secretName=culvert-token names that" }}
{{- end }}
{{- .Values.token.secretName | default (printf "%s-token" (include "culvert-agent.name" .)) }}
{{- end }}

{{/* drainTimeout in seconds. */}}
{{- define "culvert-agent.drainSeconds" -}}
{{- $number := regexFind "^[0-9]+" .Values.drainTimeout | int }}
{{- if hasSuffix "m" .Values.drainTimeout }}{{ mul $number 60 }}{{ else }}{{ $number }}{{ end }}
{{- end }}
