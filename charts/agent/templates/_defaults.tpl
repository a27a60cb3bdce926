{{/*
The values of values.yaml once more, but for resources, of which somebody may want none. A test compares the two.
*/}}
{{- define "culvert-agent.defaults" -}}
clusterName: ''
brokerUrl: ''
token:
  secretName: ''
  key: token
  value: ''
allow: []
kubeApiserver: kubernetes.default.svc
httpClients:
  enabled: false
  impersonation: true
  serviceCaConfigMap: ''
caBundle: ''
serverName: ''
hostHeader: ''
headersSecretName: ''
proxy:
  httpsProxy: ''
  secretName: ''
  noProxy: ''
tunnels: 2
replicas: 2
registry: quay.io/open-cluster-management
image: cluster-proxy
tag: null
imagePullPolicy: IfNotPresent
imagePullSecrets: []
nodeSelector: {}
tolerations: []
priorityClassName: ''
logLevel: info
drainTimeout: 30s
networkPolicies:
  enabled: false
{{- end }}
