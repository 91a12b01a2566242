package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

// aside marks the requests of the tests themselves, which are neither told nor disturbed.
const aside = "X-Aside"

// deployed are the kinds that a deployment writes: the requests that are told, held and failed
// unless a fault names other kinds.
var deployed = []string{"workflowtemplates", "cronworkflows", "sensors"}

// front is the API server's door: plain HTTP, so that a kubeconfig suffices. It answers access
// reviews, and disturbs the requests that it is asked to disturb.
type front struct {
	proxy   *httputil.ReverseProxy
	address string
	server  *http.Server

	lock    sync.Mutex
	writes  []string
	fault   *fault
	matched int
	denied  [][2]string // verb and plural
	hold    *hold
}

// fault says which requests are answered with an error.
type fault struct {
	Status  int      `json:"status"`
	Methods []string `json:"methods"`
	Plurals []string `json:"plurals"`
	Name    string   `json:"name"`
	Number  int      `json:"number"`
	DryRun  bool     `json:"dry_run"`
}

// hold lets the nth write wait.
type hold struct {
	left              int
	reached, released chan struct{}
}

// ask is what a request wants, as far as it matters here.
type ask struct {
	method, namespace, plural, name string
	dryRun                          bool
}

func newFront(config *rest.Config) (*front, error) {
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = transport
	proxy.FlushInterval = -1 // a watch is told at once
	return &front{proxy: proxy, address: "127.0.0.1:0"}, nil
}

func (f *front) open() error {
	listener, err := net.Listen("tcp", f.address)
	if err != nil {
		return err
	}
	f.address = listener.Addr().String()
	f.server = &http.Server{Handler: f}
	go f.server.Serve(listener)
	return nil
}

// close makes the API server unreachable, to those too who hold a connection.
func (f *front) close() error { return f.server.Close() }

func (f *front) url() string { return "http://" + f.address }

func (f *front) writeKubeconfig(path string) error {
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "here",
		"clusters": []any{map[string]any{"name": "here", "cluster": map[string]any{"server": f.url()}}},
		"users":    []any{map[string]any{"name": "tester", "user": map[string]any{}}},
		"contexts": []any{map[string]any{
			"name": "here", "context": map[string]any{"cluster": "here", "user": "tester"},
		}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

func (f *front) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	if request.URL.Path == reviews {
		f.review(writer, request)
		return
	}
	if request.Header.Get(aside) != "" {
		f.proxy.ServeHTTP(writer, request)
		return
	}
	wanted, err := understood(request)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	if waits := f.note(wanted); waits != nil {
		close(waits.reached)
		<-waits.released
	}
	if status, reason := f.objection(wanted); status != 0 {
		refuse(writer, status, reason)
		return
	}
	f.proxy.ServeHTTP(writer, request)
}

// note keeps what was written, and tells whether it has to wait.
func (f *front) note(wanted ask) *hold {
	f.lock.Lock()
	defer f.lock.Unlock()
	if wanted.method == "GET" || wanted.dryRun || !slices.Contains(deployed, wanted.plural) {
		return nil
	}
	path := "/apis/argoproj.io/v1alpha1/namespaces/" + wanted.namespace + "/" + wanted.plural
	if wanted.method != "POST" {
		path += "/" + wanted.name
	}
	f.writes = append(f.writes, strings.ToLower(wanted.method)+" "+path)
	if f.hold == nil {
		return nil
	}
	f.hold.left--
	if f.hold.left != 0 {
		return nil
	}
	return f.hold
}

func (f *front) objection(wanted ask) (int, string) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if slices.Contains(f.denied, [2]string{verb(wanted), wanted.plural}) {
		return http.StatusForbidden, fmt.Sprintf(
			`%s.argoproj.io "%s" is forbidden: User "tester" cannot %s resource "%s" in API group `+
				`"argoproj.io" in the namespace "%s"`,
			wanted.plural, wanted.name, verb(wanted), wanted.plural, wanted.namespace)
	}
	one := f.fault
	if one == nil || one.DryRun != wanted.dryRun || !slices.Contains(one.Methods, wanted.method) ||
		!slices.Contains(one.Plurals, wanted.plural) || one.Name != "" && one.Name != wanted.name {
		return 0, ""
	}
	f.matched++
	if one.Number != 0 && one.Number != f.matched {
		return 0, ""
	}
	return one.Status, "the API is out of order"
}

func (f *front) review(writer http.ResponseWriter, request *http.Request) {
	var review map[string]any
	var asked struct {
		Spec struct {
			ResourceAttributes struct{ Verb, Resource string }
		}
	}
	body, err := io.ReadAll(request.Body)
	if err == nil {
		err = json.Unmarshal(body, &review)
	}
	if err == nil {
		err = json.Unmarshal(body, &asked)
	}
	if err != nil {
		refuse(writer, http.StatusBadRequest, err.Error())
		return
	}
	pair := [2]string{asked.Spec.ResourceAttributes.Verb, asked.Spec.ResourceAttributes.Resource}
	f.lock.Lock()
	allowed := !slices.Contains(f.denied, pair)
	f.lock.Unlock()
	review["apiVersion"], review["kind"] = "authorization.k8s.io/v1", "SelfSubjectAccessReview"
	review["metadata"], review["status"] = map[string]any{}, map[string]any{"allowed": allowed}
	answer(writer, http.StatusCreated, review)
}

// understood reads what the request is about; a name that only the body has is read from there.
func understood(request *http.Request) (ask, error) {
	wanted := ask{method: request.Method, dryRun: request.URL.Query().Has("dryRun")}
	parts := strings.Split(strings.Trim(request.URL.Path, "/"), "/")
	if len(parts) < 6 || parts[1] != "argoproj.io" || parts[3] != "namespaces" {
		return wanted, nil
	}
	wanted.namespace, wanted.plural = parts[4], parts[5]
	if len(parts) > 6 {
		wanted.name = parts[6]
		return wanted, nil
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return wanted, err
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	var sent struct{ Metadata struct{ Name string } }
	if json.Unmarshal(body, &sent) == nil {
		wanted.name = sent.Metadata.Name
	}
	return wanted, nil
}

func verb(wanted ask) string {
	switch {
	case wanted.method == "POST":
		return "create"
	case wanted.method == "PUT":
		return "update"
	case wanted.method == "PATCH":
		return "patch"
	case wanted.method == "DELETE":
		return "delete"
	case wanted.name != "":
		return "get"
	}
	return "list"
}

var reasons = map[int]string{
	403: "Forbidden", 409: "Conflict", 422: "Invalid", 429: "TooManyRequests",
	500: "InternalError", 503: "ServiceUnavailable",
}

func refuse(writer http.ResponseWriter, status int, message string) {
	if status == http.StatusTooManyRequests {
		writer.Header().Set("Retry-After", "1")
	}
	answer(writer, status, map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
		"message": message, "reason": reasons[status], "code": status,
	})
}

func answer(writer http.ResponseWriter, status int, body any) {
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(status)
	json.NewEncoder(writer).Encode(body)
}

// control is where the tests ask for what no user could do.
type control struct {
	front   *front
	node    *node
	bus     *bus
	cluster client.Client
}

func (c *control) serve() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	asked := map[string]func(context.Context, []byte) (any, error){
		"writes":      c.tellWrites,
		"fault":       c.setFault,
		"deny":        c.setDenied,
		"hold":        c.startHold,
		"reached":     c.awaitHold,
		"release":     c.endHold,
		"away":        func(context.Context, []byte) (any, error) { return nil, c.front.close() },
		"back":        func(context.Context, []byte) (any, error) { return nil, c.front.open() },
		"define":      c.define,
		"processes":   func(context.Context, []byte) (any, error) { return c.node.processes(), nil },
		"bus/stop":    func(context.Context, []byte) (any, error) { c.bus.stop(); return nil, nil },
		"bus/start":   func(context.Context, []byte) (any, error) { return nil, c.bus.start() },
		"bus/clear":   func(context.Context, []byte) (any, error) { return nil, c.bus.clear() },
		"bus/records": func(context.Context, []byte) (any, error) { return c.bus.records() },
	}
	go http.Serve(listener, http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		does, known := asked[strings.Trim(request.URL.Path, "/")]
		body, err := io.ReadAll(request.Body)
		if !known || err != nil {
			http.NotFound(writer, request)
			return
		}
		told, err := does(request.Context(), body)
		if err != nil {
			answer(writer, http.StatusInternalServerError, map[string]string{"error": err.Error()})
			return
		}
		answer(writer, http.StatusOK, told)
	}))
	return "http://" + listener.Addr().String(), nil
}

func (c *control) tellWrites(context.Context, []byte) (any, error) {
	c.front.lock.Lock()
	defer c.front.lock.Unlock()
	told := append([]string{}, c.front.writes...)
	c.front.writes = nil
	return told, nil
}

func (c *control) setFault(_ context.Context, body []byte) (any, error) {
	c.front.lock.Lock()
	defer c.front.lock.Unlock()
	c.front.fault, c.front.matched = nil, 0
	return nil, json.Unmarshal(body, &c.front.fault)
}

func (c *control) setDenied(_ context.Context, body []byte) (any, error) {
	c.front.lock.Lock()
	defer c.front.lock.Unlock()
	c.front.denied = nil
	return nil, json.Unmarshal(body, &c.front.denied)
}

func (c *control) startHold(_ context.Context, body []byte) (any, error) {
	c.front.lock.Lock()
	defer c.front.lock.Unlock()
	c.front.hold = &hold{reached: make(chan struct{}), released: make(chan struct{})}
	return nil, json.Unmarshal(body, &c.front.hold.left)
}

func (c *control) awaitHold(ctx context.Context, _ []byte) (any, error) {
	select {
	case <-c.front.hold.reached:
		return true, nil
	case <-ctx.Done():
		return false, nil
	case <-time.After(time.Minute):
		return false, nil
	}
}

func (c *control) endHold(context.Context, []byte) (any, error) {
	close(c.front.hold.released)
	return nil, nil
}

func (c *control) define(ctx context.Context, body []byte) (any, error) {
	var path string
	if err := json.Unmarshal(body, &path); err != nil {
		return nil, err
	}
	return nil, define(ctx, c.cluster, path)
}
