{{/*
The values of values.yaml once more, but for resources, of which somebody may want none. A test compares the two.
*/}}
{{- define "cluster-proxy.defaults" -}}
registry: quay.io/open-cluster-management
image: cluster-proxy
tag: null
proxyServerImage: quay.io/open-cluster-management/cluster-proxy
proxyAgentImage: quay.io/open-cluster-management/cluster-proxy
imagePullSecrets: []
replicas: 1
proxyServer:
  replicas: null
  entrypointAddress: ''
  entrypointIngress:
    host: ''
    className: ''
    annotations: {}
    tlsSecretName: ''
    port: 443
  entrypointLoadBalancer: false
  entrypointLoadBalancerAnnotations: {}
  port: 8091
  additionalSANs: []
  enrolment:
    secretName: ''
    key: public-keys.pem
  policy:
    configMapName: ''
    key: policy.yaml
  hubAuthorization: false
  imagePullPolicy: IfNotPresent
  resources: {}
  nodeSelector: {}
  tolerations: []
redis:
  enabled: true
  image: docker.io/library/redis:7.2-bookworm
  imagePullPolicy: IfNotPresent
  runAsUser: auto
  password: ''
  external:
    url: ''
    secretName: ''
    caSecretName: ''
installByPlacement:
  placementName: ''
  placementNamespace: ''
  clusterSetBinding: true
spokeAddonNamespace: open-cluster-management-cluster-proxy
proxyAgent:
  replicas: null
  imagePullSecrets: []
  allow: []
enableKubeApiProxy: true
nodeSelector: {}
tolerations: []
logLevel: info
networkPolicies:
  enabled: false
  apiServerPorts: []
featureGates:
  clusterProfile: false
enableServiceProxy: false
enableImpersonation: true
userServer:
  enabled: false
  signer: SelfSigned
  issuerRef: {}
  additionalSANs: []
exposedServicesConfigMapName: cluster-proxy-exposed-services
exposedServices: []
{{- end }}
