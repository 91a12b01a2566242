// A cluster in one folder, for tests: an API server for custom resources on an etcd of its own, Argo
// Events' own controllers, one process for each Sensor and for the webhook, and their bus.
//
// What is real: Kubernetes' API server for custom resources, NATS JetStream, and all of Argo Events.
// What is not: nodes and pods. A Deployment that Argo writes becomes a process of this program.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	goruntime "runtime"
	"strings"
	"syscall"
	"time"

	aev1 "github.com/argoproj/argo-events/pkg/apis/events/v1alpha1"
	"github.com/argoproj/argo-events/pkg/reconciler"
	"github.com/argoproj/argo-events/pkg/reconciler/eventbus"
	"github.com/argoproj/argo-events/pkg/reconciler/eventsource"
	"github.com/argoproj/argo-events/pkg/reconciler/sensor"
	"github.com/argoproj/argo-events/pkg/shared/logging"
	"go.etcd.io/etcd/server/v3/embed"
	apps "k8s.io/api/apps/v1"
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/test/integration/fixtures"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"
)

const image = "argo-events" // of every pod, all of which are this program

var (
	scheme = runtime.NewScheme()
	// What the controllers need to know of the kinds; to ask, the server would have to be a whole one.
	mapper = meta.NewDefaultRESTMapper(nil)
)

func init() {
	for kind, plural := range map[string]string{
		"Sensor": "sensors", "EventSource": "eventsources", "EventBus": "eventbus",
	} {
		resource := aev1.SchemeGroupVersion.WithResource(plural)
		mapper.AddSpecific(
			aev1.SchemeGroupVersion.WithKind(kind), resource, resource, meta.RESTScopeNamespace)
	}
	definition := apiextensions.SchemeGroupVersion.WithResource("customresourcedefinitions")
	mapper.AddSpecific(apiextensions.SchemeGroupVersion.WithKind("CustomResourceDefinition"),
		definition, definition, meta.RESTScopeRoot)
	must(aev1.AddToScheme(scheme))
	must(apps.AddToScheme(scheme))
	must(apiextensions.AddToScheme(scheme))
}

var (
	folder      = flag.String("folder", "", "where everything lies, logs too; it must be empty")
	definitions = flag.String("definitions", "", "a YAML file with Argo Workflows' definitions")
	events      = flag.String("events", "events", "the namespace of bus, webhook and Sensors")
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "sensor-service" {
		go endWithParent()
		serveSensor()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "eventsource-service" {
		go endWithParent()
		serveWebhook()
		return
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		// Whoever started this holds its standard input: it ends with them, however they end.
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func endWithParent() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

func run(ctx context.Context) error {
	config, end, err := startServer(*folder)
	if err != nil {
		return err
	}
	defer end()
	cluster, err := client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return err
	}
	own, err := filepath.Glob(filepath.Join(eventsModule(), "manifests/base/crds/argoproj.io_*.yaml"))
	if err != nil {
		return err
	}
	for _, path := range append(own, *definitions) {
		if err := define(ctx, cluster, path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	bus, err := startBus(*folder)
	if err != nil {
		return err
	}
	defer bus.stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	front, err := newFront(config)
	if err != nil {
		return err
	}
	if err := front.open(); err != nil {
		return err
	}
	node := &node{folder: *folder, webhook: listener, pods: map[string]*pod{}}
	if err := front.writeKubeconfig(node.kubeconfig()); err != nil {
		return err
	}
	defer node.stop()
	if err := startControllers(ctx, config, node); err != nil {
		return err
	}
	if err := createEvents(ctx, cluster, bus.url, listener.Addr().(*net.TCPAddr).Port); err != nil {
		return err
	}
	control := &control{front: front, node: node, bus: bus, cluster: cluster}
	address, err := control.serve()
	if err != nil {
		return err
	}
	webhook := "http://" + listener.Addr().String() + "/metaflow-event"
	ready := map[string]string{"url": front.url(), "control": address, "webhook": webhook}
	if err := writeWhole(filepath.Join(*folder, "ready.json"), ready); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// writeWhole writes the file so that nobody ever reads half of it.
func writeWhole(path string, content any) error {
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// startServer starts etcd and the API server in the folder.
func startServer(folder string) (*rest.Config, func(), error) {
	settings := embed.NewConfig()
	settings.Dir = filepath.Join(folder, "etcd")
	settings.LogLevel = "error"
	settings.LogOutputs = []string{filepath.Join(folder, "etcd.log")}
	settings.EnableGRPCGateway = false
	settings.UnsafeNoFsync = true // nothing here outlives the tests
	local := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	settings.ListenClientUrls, settings.AdvertiseClientUrls = local, local
	settings.ListenPeerUrls, settings.AdvertisePeerUrls = local, local
	settings.InitialCluster = settings.InitialClusterFromName(settings.Name)
	store, err := embed.StartEtcd(settings)
	if err != nil {
		return nil, nil, err
	}
	<-store.Server.ReadyNotify()
	os.Setenv("KUBE_INTEGRATION_ETCD_URL", "http://"+store.Clients[0].Addr().String())
	end, config, _, err := fixtures.StartDefaultServer(quiet{})
	if err != nil {
		return nil, nil, err
	}
	config.QPS = -1 // the client's own brake
	return config, func() { end(); store.Close() }, nil
}

// startControllers runs Argo Events' own controllers, which write Deployments to the node.
func startControllers(ctx context.Context, config *rest.Config, node *node) error {
	ctrl.SetLogger(klog.Background())
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: server.Options{BindAddress: "0"},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return mapper, nil },
	})
	if err != nil {
		return err
	}
	logger := logging.NewArgoEventsLogger()
	node.Client = manager.GetClient()
	sensors := sensor.NewReconciler(node, scheme, image, logger)
	sources := eventsource.NewReconciler(node, scheme, image, logger)
	buses := eventbus.NewReconciler(
		node, kubernetes.NewForConfigOrDie(config), scheme, &reconciler.GlobalConfig{}, logger)
	for _, one := range []struct {
		kind client.Object
		does reconcile.Reconciler
	}{{&aev1.EventBus{}, buses}, {&aev1.EventSource{}, sources}, {&aev1.Sensor{}, node.collecting(sensors)}} {
		if err := ctrl.NewControllerManagedBy(manager).For(one.kind).Complete(one.does); err != nil {
			return err
		}
	}
	go manager.Start(ctx)
	return nil
}

// createEvents writes the bus and the webhook that an administrator would have set up.
func createEvents(ctx context.Context, cluster client.Client, url string, port int) error {
	place := metav1.ObjectMeta{Namespace: *events, Name: "default"}
	bus := &aev1.EventBus{ObjectMeta: place, Spec: aev1.EventBusSpec{JetStreamExotic: &aev1.JetStreamConfig{
		// As installed, but for the number of replicas.
		URL: url, StreamConfig: "maxMsgs: 50000\nmaxAge: 168h\nmaxBytes: -1\nreplicas: 1\nduplicates: 300s\n",
	}}}
	if err := cluster.Create(ctx, bus); err != nil {
		return err
	}
	place.Name = "metaflow-webhook"
	return cluster.Create(ctx, &aev1.EventSource{ObjectMeta: place, Spec: aev1.EventSourceSpec{
		Webhook: map[string]aev1.WebhookEventSource{"metaflow-event": {WebhookContext: aev1.WebhookContext{
			Port: fmt.Sprint(port), Endpoint: "/metaflow-event", Method: "POST",
		}}},
	}})
}

// define creates or replaces the definitions of a YAML file.
func define(ctx context.Context, cluster client.Client, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, document := range strings.Split(string(text), "\n---\n") {
		one := &apiextensions.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict([]byte(document), one); err != nil {
			return err
		}
		known := &apiextensions.CustomResourceDefinition{}
		if err := cluster.Get(ctx, client.ObjectKeyFromObject(one), known); err == nil {
			one.ResourceVersion = known.ResourceVersion
			if err := cluster.Update(ctx, one); err != nil {
				return err
			}
		} else if err := cluster.Create(ctx, one); err != nil {
			return err
		}
		if err := established(ctx, cluster, one); err != nil {
			return err
		}
	}
	return nil
}

// established waits until the server serves what is defined.
func established(ctx context.Context, cluster client.Client, one *apiextensions.CustomResourceDefinition) error {
	return wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, time.Minute, true,
		func(ctx context.Context) (bool, error) {
			known := &apiextensions.CustomResourceDefinition{}
			if err := cluster.Get(ctx, client.ObjectKeyFromObject(one), known); err != nil {
				return false, err
			}
			return apihelpers.IsCRDConditionTrue(known, apiextensions.Established), nil
		})
}

// eventsModule is the folder that Argo Events was compiled from; its definitions lie there.
func eventsModule() string {
	function := goruntime.FuncForPC(reflect.ValueOf(sensor.ValidateSensor).Pointer())
	path, _ := function.FileLine(function.Entry())
	return filepath.Join(filepath.Dir(path), "../../..")
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// quiet is what Kubernetes' test server tells its story to.
type quiet struct{}

func (quiet) Errorf(format string, arguments ...any) { log.Printf(format, arguments...) }
func (quiet) Fatalf(format string, arguments ...any) { log.Fatalf(format, arguments...) }
func (quiet) Logf(string, ...any)                    {}
