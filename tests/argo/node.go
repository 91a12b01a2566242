package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
	_ "unsafe" // for go:linkname

	aev1 "github.com/argoproj/argo-events/pkg/apis/events/v1alpha1"
	"github.com/argoproj/argo-events/pkg/eventsources"
	"github.com/argoproj/argo-events/pkg/eventsources/common/webhook"
	"github.com/argoproj/argo-events/pkg/metrics"
	"github.com/argoproj/argo-events/pkg/sensors"
	"github.com/argoproj/argo-events/pkg/shared/logging"
	"github.com/gorilla/mux"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	backoff = time.Second      // before a pod that ended is started again
	grace   = 30 * time.Second // from SIGTERM to SIGKILL
)

// node is the API server as Argo's controllers see it: Deployments come here and become processes,
// everything else is on the server itself.
type node struct {
	client.Client
	folder  string
	webhook net.Listener
	lock    sync.Mutex
	pods    map[string]*pod // by the owner's UID
	started int
	ending  sync.WaitGroup
}

// pod is a Deployment and the process that it runs at the moment.
type pod struct {
	deployment apps.Deployment
	name       string // of the process, and of its log
	process    *os.Process
	starts     int
	gone       chan struct{} // closed when it is wanted no more
}

func (n *node) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	switch list := list.(type) {
	case *apps.DeploymentList:
		n.lock.Lock()
		defer n.lock.Unlock()
		for _, one := range n.pods {
			list.Items = append(list.Items, *one.deployment.DeepCopy())
		}
		return nil
	case *core.ServiceList:
		return nil
	}
	return n.Client.List(ctx, list, options...)
}

func (n *node) Create(ctx context.Context, made client.Object, options ...client.CreateOption) error {
	if deployment, ok := made.(*apps.Deployment); ok {
		n.run(deployment)
		return nil
	}
	return n.Client.Create(ctx, made, options...)
}

func (n *node) Update(ctx context.Context, made client.Object, options ...client.UpdateOption) error {
	if deployment, ok := made.(*apps.Deployment); ok {
		n.run(deployment)
		return nil
	}
	return n.Client.Update(ctx, made, options...)
}

// run starts a pod of the Deployment and then ends the one before, as a rolling update does.
func (n *node) run(deployment *apps.Deployment) {
	owner := string(deployment.OwnerReferences[0].UID)
	n.lock.Lock()
	defer n.lock.Unlock()
	before := n.pods[owner]
	n.started++
	one := &pod{deployment: *deployment.DeepCopy(), gone: make(chan struct{})}
	one.deployment.Name = fmt.Sprintf("%s%d", deployment.GenerateName, n.started)
	n.pods[owner] = one
	n.ending.Add(1)
	go n.keep(one)
	if before != nil {
		close(before.gone)
	}
}

// keep runs the pod's process until it is wanted no more; what ends by itself is started again.
func (n *node) keep(one *pod) {
	defer n.ending.Done()
	for {
		ended, command := make(chan struct{}), n.start(one)
		go func() { command.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-one.gone:
			command.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
			case <-time.After(grace):
				command.Process.Kill()
			}
			return
		}
		select {
		case <-time.After(backoff):
		case <-one.gone:
			return
		}
	}
}

func (n *node) start(one *pod) *exec.Cmd {
	n.lock.Lock()
	defer n.lock.Unlock()
	one.starts++
	name := fmt.Sprintf("%s-%d", one.deployment.Name, one.starts)
	container := one.deployment.Spec.Template.Spec.Containers[0]
	program, err := os.Executable()
	must(err)
	command := exec.Command(program, container.Args...)
	// Its log says in detail whether it listens already.
	command.Env = append(os.Environ(), "LOG_LEVEL=debug", "POD_NAME="+name, aev1.EnvVarKubeConfig+"="+n.kubeconfig())
	for _, variable := range container.Env {
		if variable.ValueFrom == nil {
			command.Env = append(command.Env, variable.Name+"="+variable.Value)
		}
	}
	output, err := os.Create(filepath.Join(n.folder, name+".log"))
	must(err)
	defer output.Close()
	command.Stdout, command.Stderr = output, output
	_, err = command.StdinPipe() // never written to: its end tells the child of ours
	must(err)
	socket, err := n.webhook.(*net.TCPListener).File()
	must(err)
	defer socket.Close()
	command.ExtraFiles = []*os.File{socket}
	must(command.Start())
	one.name, one.process = name, command.Process
	return command
}

// collecting lets a reconciler's objects take their pods along when they go, as Kubernetes'
// collection of garbage does.
func (n *node) collecting(inner reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, asked reconcile.Request) (reconcile.Result, error) {
		result, failure := inner.Reconcile(ctx, asked)
		sensor := &aev1.Sensor{}
		err := n.Get(ctx, asked.NamespacedName, sensor)
		if err != nil && !apierrors.IsNotFound(err) {
			return result, err
		}
		n.lock.Lock()
		defer n.lock.Unlock()
		for owner, one := range n.pods {
			reference := one.deployment.OwnerReferences[0]
			if reference.Kind == "Sensor" && reference.Name == asked.Name && owner != string(sensor.UID) {
				delete(n.pods, owner)
				close(one.gone)
			}
		}
		return result, failure
	})
}

// running is a Sensor's or event source's process.
type running struct {
	Pid int    `json:"pid"`
	Log string `json:"log"`
}

// processes tells what runs by the name of the Sensor or event source.
func (n *node) processes() map[string]running {
	n.lock.Lock()
	defer n.lock.Unlock()
	found := map[string]running{}
	for _, one := range n.pods {
		if one.process != nil {
			found[one.deployment.OwnerReferences[0].Name] = running{
				Pid: one.process.Pid, Log: filepath.Join(n.folder, one.name+".log"),
			}
		}
	}
	return found
}

func (n *node) stop() {
	n.lock.Lock()
	for _, one := range n.pods {
		if one.process != nil {
			one.process.Kill()
		}
		close(one.gone)
	}
	n.pods = nil
	n.lock.Unlock()
	n.ending.Wait()
}

func (n *node) kubeconfig() string { return filepath.Join(n.folder, "kubeconfig.json") }

// serveSensor is the program of a Sensor's pod: Argo's own, without the port of its metrics, of
// which there is one a machine.
func serveSensor() {
	object, bus := &aev1.Sensor{}, &aev1.BusConfig{}
	decode(aev1.EnvVarSensorObject, object)
	decode(aev1.EnvVarEventBusConfig, bus)
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv(aev1.EnvVarKubeConfig))
	must(err)
	logger := logging.NewArgoEventsLogger().Named("sensor").With("sensorName", object.Name)
	ctx := logging.WithLogger(signals.SetupSignalHandler(), logger)
	sensor := sensors.NewSensorContext(
		kubernetes.NewForConfigOrDie(config), dynamic.NewForConfigOrDie(config), object, bus,
		os.Getenv(aev1.EnvVarEventBusSubject), os.Getenv(aev1.EnvVarPodName),
		metrics.NewMetrics(object.Namespace))
	must(sensor.Start(ctx))
}

// webhooks are the servers that Argo's event source has: one that is there it does not start. Its
// own would listen on every interface of the machine.
//
//go:linkname webhooks github.com/argoproj/argo-events/pkg/eventsources/sources/webhook.controller
var webhooks *webhook.Controller

// serveWebhook is the program of the event source's pod: Argo's own, on a socket that it is given.
func serveWebhook() {
	object, bus := &aev1.EventSource{}, &aev1.BusConfig{}
	decode(aev1.EnvVarEventSourceObject, object)
	decode(aev1.EnvVarEventBusConfig, bus)
	listener, err := net.FileListener(os.NewFile(3, "webhook"))
	must(err)
	handler := mux.NewRouter()
	for _, one := range object.Spec.Webhook {
		webhooks.ActiveServerHandlers[one.Port] = handler
	}
	go http.Serve(listener, handler)
	logger := logging.NewArgoEventsLogger().Named("eventsource")
	ctx := logging.WithLogger(signals.SetupSignalHandler(), logger)
	adaptor := eventsources.NewEventSourceAdaptor(
		object, bus, os.Getenv(aev1.EnvVarEventBusSubject), os.Getenv(aev1.EnvVarPodName),
		metrics.NewMetrics(object.Namespace))
	must(adaptor.Start(ctx))
}

func decode(variable string, into any) {
	text, err := base64.StdEncoding.DecodeString(os.Getenv(variable))
	must(err)
	must(json.Unmarshal(text, into))
}
