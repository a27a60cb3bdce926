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

// maxStarts is how often a program is started at most. Its ports are free when framework.FreePorts
// chooses them, and another process may take one before the program listens.
const maxStarts = 3

// externalAgentRunner starts the agent as upstream's own runner does.
type externalAgentRunner struct{ framework.ExternalAgentRunner }

func (r *externalAgentRunner) Start(t testing.TB, opts framework.AgentOpts) (framework.Agent, error) {
	for starts := 1; ; starts++ {
		started, err := r.ExternalAgentRunner.Start(t, opts)
		if err != nil {
			return nil, err
		}
		agent := &externalAgent{started}
		// Upstream's runner reports no error if the agent has ended.
		_, err = agent.GetConnectedServerCount()
		if err == nil {
			return agent, nil
		}
		agent.Stop()
		if starts == maxStarts {
			return nil, fmt.Errorf("the agent is not alive: %w", err)
		}
		t.Logf("start %d of the agent failed: %v", starts, err)
	}
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
	for starts := 1; ; starts++ {
		s, err := r.startOnce(opts)
		if err != nil {
			return nil, err
		}
		t.Cleanup(s.Stop)
		err = s.waitForLiveness()
		if err == nil {
			return s, nil
		}
		s.Stop()
		if starts == maxStarts {
			return nil, err
		}
		t.Logf("start %d of the server failed: %v", starts, err)
	}
}

func (r *externalServerRunner) startOnce(opts framework.ProxyServerOpts) (*externalServer, error) {
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
		ended:  make(chan error, 1),
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
	go func() { s.ended <- s.cmd.Wait() }()
	return s, nil
}

type externalServer struct {
	cmd                *exec.Cmd
	uds, agent, health string
	// ended gets the result of the process when it ends.
	ended chan error
	stop  sync.Once
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
		<-s.ended
	})
}

func (s *externalServer) waitForLiveness() error {
	for deadline := time.Now().Add(framework.ForeverTestTimeout); !s.answersOK("/healthz"); {
		select {
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("the server at %s has ended: %v", s.health, err)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server at %s is not alive", s.health)
		}
	}
	return nil
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
