package api

import (
	"net/http"
	"slices"
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

// finish adds the answers for other methods and other paths.
func (r *router) finish() {
	for path, methods := range r.methods {
		slices.Sort(methods)
		allow := strings.Join(methods, ", ")
		r.mux.Handle(path, r.strange(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Allow", allow)
			problem.Write(w, req, problem.New(problem.MethodNotAllowed))
		})))
	}
	r.mux.Handle("/", r.strange(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		problem.Write(w, req, problem.New(problem.NotFound))
	})))
}
