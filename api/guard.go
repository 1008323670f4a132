package api

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
)

// guard is what every request passes before its operation: who calls, at what
// rate, whether the role may, and whether the query and the body are such that
// nobody reads them in two ways.
func (a *API) guard(op *huma.Operation, next http.Handler) http.Handler {
	if len(permissions[op.OperationID]) == 0 {
		panic(fmt.Sprintf("api: operation %q has no row in permissions", op.OperationID))
	}
	return a.observe(op, a.auth.Require(a.pace(permit(op, checkQuery(op, checkBody(op, next))))))
}

// observe measures the request, and answers it where it panics.
func (a *API) observe(op *huma.Operation, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		answer := &answered{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				// What panicked may hold what was asked for; where it did, not.
				a.config.Logger.Error("an operation panicked", "operation", op.OperationID,
					"request", problem.RequestID(r.Context()), "kind", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
				if answer.status != 0 {
					panic(http.ErrAbortHandler) // half an answer must not look whole
				}
				problem.Write(answer, r, problem.New(problem.Internal))
			}
			a.metrics.request(op.OperationID, answer.status, time.Since(start))
		}()
		next.ServeHTTP(answer, r)
	})
}

// answered keeps the status of an answer; 0 is none yet.
type answered struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (a *answered) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (a *answered) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func permit(op *huma.Operation, next http.Handler) http.Handler {
	reads := op.Method == http.MethodGet
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := auth.From(r.Context()); !ok || !permitted(op.OperationID, reads, p) {
			problem.Write(w, r, problem.New(problem.Forbidden))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// checkQuery refuses a query that would be half understood: a parameter that
// the operation has not, has twice, or that says nothing. A misspelt filter
// must not show everything.
func checkQuery(op *huma.Operation, next http.Handler) http.Handler {
	var known []string
	for _, p := range op.Parameters {
		if p.In == "query" {
			known = append(known, p.Name)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fields, ok := queryFaults(r.URL.RawQuery, known); !ok {
			problem.Write(w, r, problem.New(problem.InvalidParameter).WithErrors(fields...))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func queryFaults(raw string, known []string) (faults []problem.Field, ok bool) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return []problem.Field{{Pointer: "/query", Code: "malformed"}}, false
	}
	var unknown bool
	for name, values := range query {
		pointer := "/query/" + name
		switch {
		case !slices.Contains(known, name):
			unknown = true // and not repeated: it may be anything
		case len(values) > 1:
			faults = append(faults, problem.Field{Pointer: pointer, Code: "repeated"})
		case values[0] == "":
			faults = append(faults, problem.Field{Pointer: pointer, Code: "empty"})
		}
	}
	if unknown {
		faults = append(faults, problem.Field{Pointer: "/query", Code: "unknown-parameter"})
	}
	slices.SortFunc(faults, byPointer)
	return faults, len(faults) == 0
}
