package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// client makes an HTTP client with a connection of its own.
func (o *options) client() (*http.Client, error) {
	transport := &http.Transport{
		MaxIdleConnsPerHost: 1,
		MaxConnsPerHost:     1,
		DisableCompression:  true,
		ForceAttemptHTTP2:   o.protocol == "h2",
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      64 << 10,
	}
	if o.front.address != "" {
		transport.DialContext = o.front.dial
	}
	if o.ca != "" {
		pem, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", o.ca)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: o.serverName}
	}
	return &http.Client{Transport: transport}, nil
}

// call sends a request and reads the whole body of the answer.
func (o *options) call(ctx context.Context, client *http.Client, method string, body io.Reader, size int64) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, method, o.url+o.path, body)
	if err != nil {
		return 0, err
	}
	if body != nil {
		request.ContentLength = size
	}
	authorization, err := o.bearer()
	if err != nil {
		return 0, err
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return 0, fmt.Errorf("%s %s: %s: %s", method, o.url+o.path, response.Status, text)
	}
	buffer := make([]byte, 256<<10)
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{response.Body}, buffer)
}

// get asks for a small body on each connection, again and again.
func get(ctx context.Context, opts *options) (result, error) {
	clients := make([]*http.Client, opts.connections)
	var mutex sync.Mutex
	var took []float64
	var failure error
	var started, over time.Time
	measured := func(at time.Time) bool { return !started.IsZero() && at.After(started) && at.Before(over) }
	var warm, running sync.WaitGroup
	stop := make(chan struct{})
	for i := range clients {
		client, err := opts.client()
		if err != nil {
			return nil, err
		}
		if _, err := opts.call(ctx, client, http.MethodGet, nil, 0); err != nil {
			return nil, err
		}
		clients[i] = client
	}
	warm.Add(len(clients))
	begin := make(chan struct{})
	for _, client := range clients {
		running.Go(func() {
			warmUntil := time.Now().Add(time.Duration(opts.warmup * float64(time.Second)))
			var failed error
			for failed == nil && time.Now().Before(warmUntil) {
				_, failed = opts.call(ctx, client, http.MethodGet, nil, 0)
			}
			warm.Done()
			<-begin
			var own []float64
			for failed == nil {
				select {
				case <-stop:
					mutex.Lock()
					took = append(took, own...)
					mutex.Unlock()
					return
				default:
				}
				at := time.Now()
				_, failed = opts.call(ctx, client, http.MethodGet, nil, 0)
				if failed == nil && measured(time.Now()) {
					own = append(own, micros(at))
				}
			}
			mutex.Lock()
			failure = failed
			mutex.Unlock()
		})
	}
	warm.Wait()
	started = time.Now()
	over = started.Add(time.Duration(opts.seconds * float64(time.Second)))
	emit(result{"event": "steady"})
	close(begin)
	time.Sleep(time.Until(over))
	close(stop)
	running.Wait()
	if failure != nil {
		return nil, failure
	}
	return result{
		"requests":          len(took),
		"requestsPerSecond": float64(len(took)) / opts.seconds,
		"p50Micros":         quantile(took, 0.5),
		"p99Micros":         quantile(took, 0.99),
	}, nil
}

// download reads a large body, once to warm up and then for the time of the measurement.
func download(ctx context.Context, opts *options) (result, error) {
	return transfer(ctx, opts, func(client *http.Client) (int64, error) {
		count, err := opts.call(ctx, client, http.MethodGet, nil, 0)
		if err == nil && count < opts.bytes {
			err = fmt.Errorf("the body ended after %d bytes", count)
		}
		return count, err
	})
}

// upload sends a large body. The server answers with its size.
func upload(ctx context.Context, opts *options) (result, error) {
	return transfer(ctx, opts, func(client *http.Client) (int64, error) {
		body := io.LimitReader(zeroes{}, opts.bytes)
		_, err := opts.call(ctx, client, http.MethodPost, body, opts.bytes)
		return opts.bytes, err
	})
}

func transfer(_ context.Context, opts *options, once func(*http.Client) (int64, error)) (result, error) {
	client, err := opts.client()
	if err != nil {
		return nil, err
	}
	if _, err := once(client); err != nil {
		return nil, err
	}
	emit(result{"event": "steady"})
	started := time.Now()
	total, times := int64(0), 0
	for times == 0 || time.Since(started).Seconds() < opts.seconds {
		count, err := once(client)
		if err != nil {
			return nil, err
		}
		total += count
		times++
	}
	took := time.Since(started).Seconds()
	return result{
		"requests":    times,
		"bytes":       total,
		"mbPerSecond": float64(total) / 1e6 / took,
		"seconds":     took / float64(times),
	}, nil
}

type zeroes struct{}

func (zeroes) Read(into []byte) (int, error) {
	clear(into)
	return len(into), nil
}
