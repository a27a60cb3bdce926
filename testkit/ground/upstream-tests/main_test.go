// Package tests runs upstream's own tests of konnectivity against programs that are given by their
// paths. It takes the place of upstream's main_test.go; the other files of the package are copied
// from upstream's module when the tests are built.
package tests

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	metricsclient "sigs.k8s.io/apiserver-network-proxy/konnectivity-client/pkg/client/metrics"
	metricstest "sigs.k8s.io/apiserver-network-proxy/pkg/testing/metrics"
	"sigs.k8s.io/apiserver-network-proxy/tests/framework"
)

var (
	serverPath = flag.String("server-path", "", "the proxy server")
	agentPath  = flag.String("agent-path", "", "the proxy agent")
)

var Framework = framework.Framework{}

func TestMain(m *testing.M) {
	metricsclient.Metrics.RegisterMetrics(prometheus.DefaultRegisterer)
	flag.Parse()
	Framework.ProxyServerRunner = &externalServerRunner{path: *serverPath}
	Framework.AgentRunner = &externalAgentRunner{framework.ExternalAgentRunner{ExecutablePath: *agentPath}}
	if err := framework.InitCertsDir(); err != nil {
		log.Fatalf("no certificates: %v", err)
	}
	code := m.Run()
	os.RemoveAll(framework.CertsDir)
	os.Exit(code)
}

// externalAgentRunner starts the agent as upstream's own runner does.
type externalAgentRunner struct{ framework.ExternalAgentRunner }

func (r *externalAgentRunner) Start(t testing.TB, opts framework.AgentOpts) (framework.Agent, error) {
	agent, err := r.ExternalAgentRunner.Start(t, opts)
	if err != nil {
		return nil, err
	}
	return &externalAgent{agent}, nil
}

type externalAgent struct{ framework.Agent }

// GetConnectedServerCount is 0 for an agent that has not published the gauge yet. Upstream's agent
// publishes it with its first connection, which takes longer on a busy machine.
func (a *externalAgent) GetConnectedServerCount() (int, error) {
	count, err := a.Agent.GetConnectedServerCount()
	if err != nil && strings.HasPrefix(err.Error(), "missing ") {
		return 0, nil
	}
	return count, err
}

// externalServerRunner starts the server as a process, with the flags of a real installation.
type externalServerRunner struct{ path string }

func (r *externalServerRunner) Start(t testing.TB, opts framework.ProxyServerOpts) (framework.ProxyServer, error) {
	t.Helper()
	ports, err := framework.FreePorts(3)
	if err != nil {
		return nil, err
	}
	agentPort := opts.AgentPort
	if agentPort == 0 {
		agentPort = ports[0]
	}
	s := &externalServer{
		uds:    filepath.Join(framework.CertsDir, fmt.Sprintf("server-%s.sock", uuid.NewString())),
		agent:  net.JoinHostPort("127.0.0.1", strconv.Itoa(agentPort)),
		health: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[1])),
	}
	cert := func(name string) string { return filepath.Join(framework.CertsDir, name) }
	s.cmd = exec.Command(r.path,
		"--mode="+opts.Mode,
		"--uds-name="+s.uds,
		"--server-port=0",
		"--server-count="+strconv.Itoa(opts.ServerCount),
		"--cluster-cert="+cert(framework.TestServerCertFile),
		"--cluster-key="+cert(framework.TestServerKeyFile),
		"--cluster-ca-cert="+cert(framework.TestCAFile),
		"--agent-bind-address=127.0.0.1",
		"--agent-port="+strconv.Itoa(agentPort),
		"--health-bind-address=127.0.0.1",
		"--health-port="+strconv.Itoa(ports[1]),
		"--admin-bind-address=127.0.0.1",
		"--admin-port="+strconv.Itoa(ports[2]),
	)
	s.cmd.Stdout, s.cmd.Stderr = os.Stdout, os.Stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	t.Cleanup(s.Stop)
	for deadline := time.Now().Add(framework.ForeverTestTimeout); !s.answersOK("/healthz"); {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the server at %s is not alive", s.health)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return s, nil
}

type externalServer struct {
	cmd                *exec.Cmd
	uds, agent, health string
	stop               sync.Once
}

func (s *externalServer) AgentAddr() string { return s.agent }
func (s *externalServer) FrontAddr() string { return s.uds }
func (s *externalServer) Ready() bool       { return s.answersOK("/readyz") }

func (s *externalServer) Metrics() metricstest.ServerTester {
	return &metricstest.Tester{Endpoint: "http://" + s.health + "/metrics"}
}

func (s *externalServer) Stop() {
	s.stop.Do(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
}

// ConnectedBackends sums ready_backends over the strategies.
func (s *externalServer) ConnectedBackends() (int, error) {
	answer, err := http.Get("http://" + s.health + "/metrics")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	backends := 0
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "konnectivity_network_proxy_server_ready_backends{") {
			continue
		}
		words := strings.Fields(lines.Text())
		count, err := strconv.ParseFloat(words[len(words)-1], 64)
		if err != nil {
			return 0, err
		}
		backends += int(count)
	}
	return backends, nil
}

func (s *externalServer) answersOK(path string) bool {
	answer, err := http.Get("http://" + s.health + path)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}
