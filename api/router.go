package api

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/doctorsflow/doctorsflow/internal/problem"
)

// router is a ServeMux that answers in problem documents where it has no
// route, and puts every operation behind the guard.
type router struct {
	mux     *http.ServeMux
	guard   func(*huma.Operation, http.Handler) http.Handler
	strange func(http.Handler) http.Handler // around what anybody may ask
	origin  func(*http.Request) *http.Request
	methods map[string][]string // by path
}

func newRouter(guard func(*huma.Operation, http.Handler) http.Handler, strange func(http.Handler) http.Handler, origin func(*http.Request) *http.Request) *router {
	return &router{mux: http.NewServeMux(), guard: guard, strange: strange, origin: origin, methods: map[string][]string{}}
}

// Handle implements [huma.Adapter].
func (r *router) Handle(op *huma.Operation, handler func(huma.Context)) {
	r.add(op.Method, op.Path, r.guard(op, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		handler(humago.NewContext(op, r.origin(req), w))
	})))
}

// ServeHTTP implements [huma.Adapter].
func (r *router) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.mux.ServeHTTP(w, req) }

func (r *router) add(method, path string, h http.Handler) {
	r.mux.Handle(method+" "+path, h)
	r.methods[path] = append(r.methods[path], method)
	if method == http.MethodGet {
		r.methods[path] = append(r.methods[path], http.MethodHead) // ServeMux serves it too
	}
}

// page adds a document that anybody may read.
func (r *router) page(path, contentType string, body []byte) {
	r.add(http.MethodGet, path, r.strange(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		if strings.HasPrefix(contentType, "text/html") {
			h.Set("Content-Security-Policy", pagePolicy)
		}
		_, _ = w.Write(body) // a client that left is no error of ours
	})))
}

// finish adds the answers for other methods and other paths. One pattern takes
// all of them: a path of its own for every method would contradict the
// operations whose path has an id in the same place.
func (r *router) finish() {
	r.mux.Handle("/", r.strange(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if allow := r.allowed(req); len(allow) > 0 {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			problem.Write(w, req, problem.New(problem.MethodNotAllowed))
			return
		}
		problem.Write(w, req, problem.New(problem.NotFound))
	})))
}

// allowed lists the methods that something answers to at the request's path.
func (r *router) allowed(req *http.Request) (list []string) {
	for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPost, http.MethodPut} {
		other := &http.Request{Method: method, URL: req.URL, Host: req.Host}
		if _, pattern := r.mux.Handler(other); pattern != "/" {
			list = append(list, method)
		}
	}
	return list
}
