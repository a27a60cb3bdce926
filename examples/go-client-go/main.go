// Command go-client-go reaches the kube-apiserver of a managed cluster through culvert, with client-go. It prints the
// version of the kube-apiserver and, if its credentials permit it, the names of the namespaces.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func main() {
	proxy := flag.String("proxy", "localhost:8090", "HOST:PORT of the Service proxy-entrypoint")
	serverName := flag.String("server-name", "localhost", "name in the certificate of the proxy")
	credentials := flag.String("credentials", ".", "directory with ca.crt (Secret proxy-server-ca), tls.crt and tls.key (Secret proxy-client)")
	cluster := flag.String("cluster", "", "name of the managed cluster")
	clusterCA := flag.String("cluster-ca", "", "CA of the managed cluster's kube-apiserver; without it the certificate is not verified")
	clusterName := flag.String("cluster-server-name", "kubernetes.default.svc", "name in the certificate of the managed cluster's kube-apiserver")
	tokenFile := flag.String("token-file", "", "token of an account in the managed cluster; without it the request is anonymous")
	timeout := flag.Duration("timeout", 30*time.Second, "limit for each request")
	flag.Parse()
	if *cluster == "" {
		fmt.Fprintln(os.Stderr, "--cluster is missing")
		os.Exit(2)
	}

	tunnel, err := newTunnel(*proxy, *serverName, *credentials)
	if err != nil {
		fail(err)
	}
	cfg := &rest.Config{
		// The name of the cluster is the host. The agent of that cluster connects to its kube-apiserver.
		Host:            "https://" + *cluster,
		Dial:            tunnel.DialContext,
		BearerTokenFile: *tokenFile,
		Timeout:         *timeout,
	}
	if *clusterCA == "" {
		cfg.TLSClientConfig.Insecure = true
	} else {
		cfg.TLSClientConfig.CAFile = *clusterCA
		// The certificate of a kube-apiserver does not have the name of the cluster.
		cfg.TLSClientConfig.ServerName = *clusterName
	}

	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		fail(err)
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		fail(err)
	}
	fmt.Printf("%s runs Kubernetes %s\n", *cluster, version.GitVersion)

	namespaces, err := client.CoreV1().Namespaces().List(context.Background(), metav1.ListOptions{})
	if err != nil {
		fmt.Printf("namespaces cannot be listed: %v\n", err)
		return
	}
	var names []string
	for _, namespace := range namespaces.Items {
		names = append(names, namespace.Name)
	}
	fmt.Printf("namespaces: %s\n", strings.Join(names, ", "))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
