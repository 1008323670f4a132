package api

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/strictjson"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// maxBody bounds a body, in bytes, where the operation does not.
const maxBody = 256 << 10

// once lists the headers that mean something here and may come once. Of two, a
// proxy might have believed the other one.
var once = []string{
	"Content-Type", "Content-Encoding", "Idempotency-Key", "If-Match", "X-Purpose",
	"Ce-Specversion", "Ce-Id", "Ce-Source", "Ce-Type", "Ce-Subject", "Ce-Time", "Ce-Sequence", "Ce-Sequencetype",
}

// bodyLimits refuses keys that differ in case only besides what it bounds:
// what decodes the body reads the last of them.
var bodyLimits = strictjson.Limits{FoldCase: true}

// largeBodies are the limits of operations that take whole workflows: nodes of
// a drawing by the thousand, one level deeper, or a file as one text; and pages
// of FHIR resources.
var largeBodies = map[string]strictjson.Limits{
	"create-workflow": {FoldCase: true, Values: 110_000, Depth: strictjson.DefaultDepth + 1, String: workflow.MaxVisualBytes + 1},
	"update-workflow": {FoldCase: true, Values: 110_000, Depth: strictjson.DefaultDepth + 1, String: workflow.MaxVisualBytes + 1},
	"import-workflow": {FoldCase: true, String: 2 * workflow.MaxVisualBytes},

	"receive-appointment-fhir":  appointment.FHIRLimits,
	"receive-fhir-notification": appointment.FHIRLimits,
}

// checkBody refuses a body that two readers could read in two ways, before
// anything is decoded, and whatever is sent where no body is taken. It reads
// the whole body, which the operation bounds.
func checkBody(op *huma.Operation, next http.Handler) http.Handler {
	limit := op.MaxBodyBytes
	if limit <= 0 {
		limit = maxBody
	}
	limits, large := largeBodies[op.OperationID]
	if !large {
		limits = bodyLimits
	}
	types := takes(op)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		slug, fields := problem.Slug(""), []problem.Field(nil)
		for _, name := range once {
			if len(r.Header[name]) > 1 {
				slug = problem.AmbiguousHeader
			}
		}
		var body []byte
		if slug == "" {
			body, slug = readBody(w, r, types, limit)
		}
		if slug == "" && len(body) > 0 && !isTable(r.Header.Get("Content-Type")) {
			slug, fields = checkJSON(body, limits)
		}
		if slug != "" {
			w.Header().Set("Connection", "close") // what is left of the body is not read
			p := problem.New(slug).WithErrors(fields...)
			if slug == problem.UnsupportedMediaType && len(types) > 0 && !slices.Equal(types, []string{"application/json"}) {
				p = p.WithDetail("Send it uncompressed, as one of the media types that the operation's documentation lists; JSON in UTF-8.")
			}
			problem.Write(w, r, p)
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		next.ServeHTTP(w, r)
	})
}

func readBody(w http.ResponseWriter, r *http.Request, types []string, limit int64) ([]byte, problem.Slug) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, problem.UnsupportedMediaType
	}
	if types == nil {
		limit = 0
	}
	if r.ContentLength > limit {
		return nil, problem.PayloadTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case large:
		return nil, problem.PayloadTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problem.RequestTimeout
	case err != nil:
		return nil, problem.BadRequest
	case len(body) > 0 && !taken(r.Header.Get("Content-Type"), types):
		return nil, problem.UnsupportedMediaType
	}
	return body, ""
}

// takes lists the media types of an operation's body; nil is no body.
func takes(op *huma.Operation) []string {
	if op.RequestBody == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(op.RequestBody.Content))
}

// taken reports whether a Content-Type is one of types; JSON is in UTF-8, and
// the parameters of a table and of FHIR are for whoever reads them.
func taken(contentType string, types []string) bool {
	for _, t := range types {
		if (t == tableType || t == fhirType) && isOf(contentType, t) || edge.IsMedia(contentType, t) {
			return true
		}
	}
	return false
}

// tableType is the only type of body that is not JSON.
const tableType = "text/csv"

func isTable(contentType string) bool { return isOf(contentType, tableType) }

// isOf is [edge.IsMedia] whatever the parameters.
func isOf(contentType, want string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == want
}

func checkJSON(body []byte, limits strictjson.Limits) (problem.Slug, []problem.Field) {
	err := strictjson.Check(body, limits)
	if err == nil {
		return "", nil
	}
	e, ok := errors.AsType[*strictjson.Error](err)
	if !ok {
		return problem.MalformedJSON, nil
	}
	// Every code of the check is a slug too, and its pointer may be shown.
	return problem.Slug(e.Code), []problem.Field{{Pointer: e.Pointer, Code: string(e.Code)}}
}
