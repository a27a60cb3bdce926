// Command informers follows ConfigMaps with informers of client-go, typed and dynamic, while it changes them itself. It
// counts relists, and checks that each informer holds every change in the end. It writes a line of JSON each second, and
// stops when its stdin ends.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

const (
	requestLimit = 20 * time.Second
	settleLimit  = 60 * time.Second
	objects      = 20
)

// counts is what the clients did.
type counts struct {
	lists, watches, writes, failedWrites atomic.Int64
	mutex                                sync.Mutex
	errors                               []string
}

func (c *counts) result() map[string]any {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return map[string]any{
		"lists": c.lists.Load(), "watches": c.watches.Load(),
		"writes": c.writes.Load(), "failedWrites": c.failedWrites.Load(), "errors": c.errors,
	}
}

func (c *counts) fail(err error) {
	c.failedWrites.Add(1)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.errors) < 10 {
		c.errors = append(c.errors, time.Now().Format(time.RFC3339Nano)+" "+err.Error())
	}
}

// RoundTrip counts lists and watches of the informers.
type counting struct {
	counts *counts
	next   http.RoundTripper
}

func (c counting) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodGet && strings.HasSuffix(request.URL.Path, "/configmaps") {
		if request.URL.Query().Get("watch") != "" {
			c.counts.watches.Add(1)
		} else {
			c.counts.lists.Add(1)
		}
	}
	return c.next.RoundTrip(request)
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	namespace := flag.String("namespace", "default", "the namespace of the ConfigMaps")
	every := flag.Duration("every", 100*time.Millisecond, "the pause between two changes")
	flag.Parse()
	if err := run(*kubeconfig, *namespace, *every); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig, namespace string, every time.Duration) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	cfg.QPS = -1
	counted := &counts{}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{counted, next} })
	typed, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	untyped, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	typedFactory := informers.NewSharedInformerFactoryWithOptions(typed, 0, informers.WithNamespace(namespace))
	typedInformer := typedFactory.Core().V1().ConfigMaps().Informer()
	untypedFactory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(untyped, 0, namespace, nil)
	untypedInformer := untypedFactory.ForResource(configMaps).Informer()
	typedFactory.Start(ctx.Done())
	untypedFactory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), typedInformer.HasSynced, untypedInformer.HasSynced) {
		return errors.New("the informers did not sync")
	}
	emit(map[string]any{"event": "synced"})
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	report := time.NewTicker(time.Second)
	defer report.Stop()
	last := map[string]string{}
	writer := untyped.Resource(configMaps).Namespace(namespace)
	for number := 0; ; number++ {
		select {
		case <-ended:
			return finish(ctx, last, counted, typedInformer, untypedInformer)
		case <-report.C:
			emit(counted.result())
		case <-time.After(every):
		}
		name := fmt.Sprintf("followed-%d", number%objects)
		if err := write(ctx, writer, name, strconv.Itoa(number)); err != nil {
			counted.fail(err)
			// The change may have arrived all the same, so nothing is known of this object.
			delete(last, name)
			continue
		}
		counted.writes.Add(1)
		last[name] = strconv.Itoa(number)
	}
}

// write applies a ConfigMap with the dynamic client.
func write(ctx context.Context, writer dynamic.ResourceInterface, name, value string) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	_, err := writer.Apply(ctx, name, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": name},
		"data":     map[string]any{"value": value},
	}}, metav1.ApplyOptions{FieldManager: "informers", Force: true})
	return err
}

// finish waits until both informers hold the last change of each object.
func finish(ctx context.Context, last map[string]string, counted *counts, typed, untyped cache.SharedIndexInformer) error {
	deadline := time.Now().Add(settleLimit)
	for {
		missing := 0
		for name, value := range last {
			if valueOf(typed, name) != value || valueOf(untyped, name) != value {
				missing++
			}
		}
		if missing == 0 {
			out := counted.result()
			out["event"] = "done"
			out["objects"] = len(last)
			emit(out)
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d objects are stale in an informer", missing, len(last))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func valueOf(informer cache.SharedIndexInformer, name string) string {
	for _, object := range informer.GetStore().List() {
		switch held := object.(type) {
		case *corev1.ConfigMap:
			if held.Name == name {
				return held.Data["value"]
			}
		case *unstructured.Unstructured:
			if held.GetName() == name {
				value, _, _ := unstructured.NestedString(held.Object, "data", "value")
				return value
			}
		}
	}
	return ""
}

func emit(out map[string]any) {
	line, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}
