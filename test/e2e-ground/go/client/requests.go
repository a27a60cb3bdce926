package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"culvert.test/ground/pattern"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// healthz asks the managed kube-apiserver how it is.
func healthz(ctx context.Context, opts *options) (result, error) {
	client, closed, err := opts.user.client()
	if err != nil {
		return nil, err
	}
	defer closed()
	body, err := client.RESTClient().Get().AbsPath("/healthz").DoRaw(ctx)
	return result{"body": string(body)}, err
}

// pods lists them.
func pods(ctx context.Context, opts *options) (result, error) {
	client, closed, err := opts.user.client()
	if err != nil {
		return nil, err
	}
	defer closed()
	list, err := client.CoreV1().Pods(opts.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	names := []string{}
	nodes := map[string]bool{}
	for _, pod := range list.Items {
		names = append(names, pod.Name)
		nodes[pod.Spec.NodeName] = true
	}
	onNodes := []string{}
	for node := range nodes {
		onNodes = append(onNodes, node)
	}
	return result{"pods": names, "nodes": onNodes}, nil
}

// watchConfigMaps watches a ConfigMap come, change and go, and prints how long the news took.
func watchConfigMaps(ctx context.Context, opts *options) (result, error) {
	client, closed, err := opts.user.client()
	if err != nil {
		return nil, err
	}
	defer closed()
	maps := client.CoreV1().ConfigMaps(opts.namespace)
	name := fmt.Sprintf("watched-%d", time.Now().UnixNano())
	watcher, err := maps.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		return nil, err
	}
	defer watcher.Stop()

	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
	steps := []func() error{
		func() error { _, err := maps.Create(ctx, object, metav1.CreateOptions{}); return err },
		func() error {
			object.Data = map[string]string{"changed": "yes"}
			_, err := maps.Update(ctx, object, metav1.UpdateOptions{})
			return err
		},
		func() error { return maps.Delete(ctx, name, metav1.DeleteOptions{}) },
	}
	seen := []watch.EventType{}
	slowest := time.Duration(0)
	for _, step := range steps {
		startedAt := time.Now()
		if err := step(); err != nil {
			return result{"events": seen}, err
		}
		event, open := <-watcher.ResultChan()
		if !open {
			return result{"events": seen}, errors.New("the watch ended")
		}
		seen = append(seen, event.Type)
		slowest = max(slowest, time.Since(startedAt))
	}
	return result{"events": seen, "slowestMs": slowest.Milliseconds()}, nil
}

// download reads a body of pattern bytes and checks each of them.
func download(ctx context.Context, opts *options) (result, error) {
	client, closed, err := opts.user.client()
	if err != nil {
		return nil, err
	}
	defer closed()
	startedAt := time.Now()
	body, err := client.RESTClient().Get().RequestURI(opts.path).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	hash := sha256.New()
	count, err := check(io.TeeReader(body, hash), func(int64) {})
	out := result{
		"bytes":   count,
		"sha256":  hex.EncodeToString(hash.Sum(nil)),
		"seconds": time.Since(startedAt).Seconds(),
	}
	if err == nil && count != opts.bytes {
		err = fmt.Errorf("the body ended after %d bytes, %d were promised", count, opts.bytes)
	}
	return out, err
}

// check reads to the end and compares with the pattern; seen is told how many bytes there were so far.
func check(body io.Reader, seen func(int64)) (int64, error) {
	buffer := make([]byte, 256<<10)
	count := int64(0)
	for {
		n, err := body.Read(buffer)
		if wrong := pattern.Check(count, buffer[:n]); wrong != nil {
			return count, wrong
		}
		count += int64(n)
		seen(count)
		if err == io.EOF {
			return count, nil
		}
		if err != nil {
			return count, err
		}
	}
}
