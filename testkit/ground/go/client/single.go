package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"culvert.test/ground/front"
	"culvert.test/ground/pattern"
	"k8s.io/client-go/rest"
	konnectivity "sigs.k8s.io/apiserver-network-proxy/konnectivity-client/pkg/client"
)

const (
	chunkBytes      = 32 << 10
	bodyPrefixBytes = 200
)

// get reads a URL as a user of Open Cluster Management's cluster-proxy does: a rest.Config whose host is the name of the
// managed cluster and whose Dial is the tunnel's.
func get(ctx context.Context, opts *options, args []string) (result, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("get needs one URL, got %d", len(args))
	}
	tunnel, err := opts.front.Tunnel(ctx)
	if err != nil {
		return nil, err
	}
	config := &rest.Config{Host: args[0], Dial: tunnel.DialContext, Timeout: opts.timeout}
	config.Insecure = opts.insecure
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	startedAt := time.Now()
	response, err := client.Get(args[0])
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return result{
		"status":  response.StatusCode,
		"server":  response.Header.Get("Server"),
		"proto":   response.Proto,
		"bytes":   len(body),
		"sha256":  hexSum(body),
		"body":    string(body[:min(len(body), bodyPrefixBytes)]),
		"tookMs":  time.Since(startedAt).Milliseconds(),
		"headers": flat(response.Header),
	}, err
}

// hash moves bytes over one connection and prints their sum. Down: one byte is sent first, then everything is read to the
// end. Up: the pattern is written, then closed; the target knows what arrived. With --confirm it says so by one byte before the
// close: the library's Close gives up after 10 s, and takes what is still on its way along.
func hash(ctx context.Context, opts *options, _ []string) (result, error) {
	conn, err := opts.front.Dial(ctx, opts.to)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	startedAt := time.Now()
	var moved int64
	switch opts.direction {
	case "up":
		for moved < opts.bytes && err == nil {
			var n int
			chunk := pattern.At(moved, int(min(chunkBytes, opts.bytes-moved)))
			n, err = conn.Write(chunk)
			sum.Write(chunk[:n])
			moved += int64(n)
		}
		if err == nil && opts.confirm {
			_, err = conn.Read(make([]byte, 1))
		}
	case "down":
		if _, err = conn.Write([]byte{'\n'}); err == nil {
			moved, err = io.CopyBuffer(sum, onlyReader{conn}, make([]byte, 256<<10))
		}
		if err == nil && moved != opts.bytes {
			err = fmt.Errorf("read %d bytes, want %d", moved, opts.bytes)
		}
	default:
		return nil, fmt.Errorf("--direction is up or down, not %q", opts.direction)
	}
	took := time.Since(startedAt)
	closeErr := front.Close(conn)
	return result{
		"bytes":      moved,
		"sha256":     hex.EncodeToString(sum.Sum(nil)),
		"tookMs":     took.Milliseconds(),
		"closeError": text(closeErr),
	}, err
}

// dialError succeeds when the dial fails, and prints how.
func dialError(ctx context.Context, opts *options, _ []string) (result, error) {
	startedAt := time.Now()
	conn, err := opts.front.Dial(ctx, opts.to)
	out := failure(err, startedAt)
	if err == nil {
		conn.Close()
		return out, errors.New("the dial succeeded")
	}
	return out, nil
}

// cancelDial gives up a dial by its context. It succeeds when the dial ends because of that.
func cancelDial(ctx context.Context, opts *options, _ []string) (result, error) {
	tunnel, err := opts.front.Tunnel(ctx)
	if err != nil {
		return nil, err
	}
	dialCtx, cancel := context.WithTimeout(ctx, opts.after)
	defer cancel()
	startedAt := time.Now()
	conn, err := tunnel.DialContext(dialCtx, "tcp", opts.to)
	out := failure(err, startedAt)
	if err == nil {
		conn.Close()
		return out, errors.New("the dial succeeded before it was cancelled")
	}
	select {
	case <-tunnel.Done():
	case <-time.After(5 * time.Second):
		return out, errors.New("the tunnel is still open 5 s after the cancelled dial")
	}
	if dialCtx.Err() == nil {
		return out, errors.New("the dial ended before it was cancelled")
	}
	return out, nil
}

// hang moves bytes both ways until it is killed. It prints {"dialed":true} when the connection stands.
func hang(ctx context.Context, opts *options, _ []string) (result, error) {
	conn, err := opts.front.Dial(ctx, opts.to)
	if err != nil {
		return nil, err
	}
	fmt.Println(`{"dialed":true}`)
	go io.Copy(io.Discard, onlyReader{conn})
	var sent int64
	for {
		n, err := conn.Write(pattern.At(sent, chunkBytes))
		sent += int64(n)
		if err != nil {
			return result{"bytes": sent}, err
		}
	}
}

func failure(err error, startedAt time.Time) result {
	isDialFailure, reason := konnectivity.GetDialFailureReason(err)
	return result{
		"dialError":     text(err),
		"isDialFailure": isDialFailure,
		"reason":        string(reason),
		"tookMs":        time.Since(startedAt).Milliseconds(),
	}
}

// onlyReader hides what else a connection can do, so that io.Copy uses the buffer it is given.
type onlyReader struct{ io.Reader }

func hexSum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func flat(header http.Header) map[string]string {
	out := map[string]string{}
	for name, values := range header {
		out[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return out
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
