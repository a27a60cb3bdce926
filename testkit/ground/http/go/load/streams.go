package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

const (
	settleTime  = 2 * time.Second
	eventPause  = 300 * time.Millisecond
	eventLimit  = 20 * time.Second
	eventRounds = 5
)

// watches opens many watches on one ConfigMap, tells when all are idle, and then measures how long a change takes to all
// of them. It changes the ConfigMap at the API server itself. It ends when its stdin does.
func watches(ctx context.Context, opts *options) (result, error) {
	writerConfig := &rest.Config{Host: opts.writer, BearerTokenFile: opts.writerToken, QPS: -1}
	writerConfig.TLSClientConfig.CAFile = opts.writerCA
	writer, err := kubernetes.NewForConfig(writerConfig)
	if err != nil {
		return nil, err
	}
	cfg := opts.config()
	watcher, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	maps := writer.CoreV1().ConfigMaps(opts.namespace)
	name := fmt.Sprintf("watched-%d", time.Now().UnixNano())
	object, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = maps.Delete(ctx, name, metav1.DeleteOptions{}) }()

	type arrival struct {
		round int
		at    time.Time
	}
	arrivals := make(chan arrival, opts.count)
	failures := make(chan error, opts.count)
	selector := metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: object.ResourceVersion}
	var opening sync.WaitGroup
	limit := make(chan struct{}, 32)
	for range opts.count {
		opening.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			events, err := watcher.CoreV1().ConfigMaps(opts.namespace).Watch(ctx, selector)
			if err != nil {
				failures <- err
				return
			}
			go func() {
				for event := range events.ResultChan() {
					changed, ok := event.Object.(*corev1.ConfigMap)
					if !ok {
						failures <- fmt.Errorf("event %s: %v", event.Type, event.Object)
						return
					}
					round, err := strconv.Atoi(changed.Data["round"])
					if err == nil {
						arrivals <- arrival{round, time.Now()}
					}
				}
				failures <- fmt.Errorf("a watch ended")
			}()
		})
	}
	opening.Wait()
	if len(failures) > 0 {
		return nil, <-failures
	}
	time.Sleep(settleTime)
	emit(result{"event": "idle", "watches": opts.count})
	// The caller measures memory now, and lets go on by a line.
	var line [1]byte
	if _, err := os.Stdin.Read(line[:]); err != nil {
		return nil, err
	}
	emit(result{"event": "steady"})
	var took []float64
	for round := range eventRounds {
		object.Data = map[string]string{"round": strconv.Itoa(round)}
		startedAt := time.Now()
		object, err = maps.Update(ctx, object, metav1.UpdateOptions{})
		if err != nil {
			return nil, err
		}
		for range opts.count {
			select {
			case arrived := <-arrivals:
				took = append(took, float64(arrived.at.Sub(startedAt).Microseconds()))
			case err := <-failures:
				return nil, err
			case <-time.After(eventLimit):
				return nil, fmt.Errorf("an event did not reach all watches within %s", eventLimit)
			}
		}
		time.Sleep(eventPause)
	}
	return result{"requests": len(took), "p50Micros": quantile(took, 0.5), "p99Micros": quantile(took, 0.99)}, nil
}

// execEcho runs `cat` in a pod and sends it one line at a time.
func execEcho(ctx context.Context, opts *options) (result, error) {
	cfg := opts.config()
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	request := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(opts.namespace).Name(opts.pod).
		SubResource("exec").VersionedParams(&corev1.PodExecOptions{
		Command: []string{"cat"}, Stdin: true, Stdout: true,
	}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(cfg, http.MethodGet, request.URL().String())
	if err != nil {
		return nil, err
	}
	in, write := io.Pipe()
	read, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: out})
		if err == nil {
			err = io.EOF
		}
		out.CloseWithError(err)
		ended <- err
	}()
	line := []byte("0123456789abcde\n")
	answer := make([]byte, len(line))
	var took []float64
	for i := -opts.count / 10; i < opts.count; i++ {
		if i == 0 {
			emit(result{"event": "steady"})
		}
		at := time.Now()
		if _, err := write.Write(line); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(read, answer); err != nil {
			return nil, err
		}
		if i >= 0 {
			took = append(took, micros(at))
		}
	}
	write.Close()
	return result{"requests": len(took), "p50Micros": quantile(took, 0.5), "p99Micros": quantile(took, 0.99)}, nil
}
