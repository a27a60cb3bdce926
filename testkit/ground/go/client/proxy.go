package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// proxyGet reads an https URL through the front as an HTTP or SOCKS 5 proxy, as programs do that have a proxy URL in their
// configuration, such as Prometheus. The URL of the proxy is the second argument.
func proxyGet(_ context.Context, opts *options, args []string) (result, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("proxy-get needs a URL and the URL of a proxy, got %d", len(args))
	}
	proxy, err := url.Parse(args[1])
	if err != nil {
		return nil, err
	}
	config, err := opts.front.TLS()
	if err != nil {
		return nil, err
	}
	// The configuration is for the proxy and the target.
	config.InsecureSkipVerify = opts.insecure
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: config}
	client := &http.Client{Transport: transport, Timeout: opts.timeout}
	response, err := client.Get(args[0])
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return result{"status": response.StatusCode, "bytes": len(body), "sha256": hexSum(body)}, err
}
