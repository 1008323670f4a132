package api

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// howTold says who writes an operation's row of the audit log.
type howTold string

const (
	toldRead   howTold = "read"   // the API, before the answer leaves
	toldChange howTold = "change" // the store, in the transaction of the change
)

// telling is what the audit log keeps of an operation.
type telling[O any] struct {
	how howTold
	// shown returns how many rows an answer has, and whose they are.
	shown func(*O) (rows int, patients []uuid.UUID)
}

// shows declares a list: of each row, whose it is; the zero id is nobody's.
func shows[T any](whose func(T) uuid.UUID) telling[page[T]] {
	return telling[page[T]]{how: toldRead, shown: func(out *page[T]) (int, []uuid.UUID) {
		patients := make([]uuid.UUID, len(out.Body.Data))
		for i, row := range out.Body.Data {
			patients[i] = whose(row)
		}
		return len(patients), patients
	}}
}

// changes declares an operation whose change and row are one transaction of
// the store.
func changes[O any]() telling[O] { return telling[O]{how: toldChange} }

func (t telling[O]) check(operation string) {
	if t.how == "" || (t.how == toldRead) != (t.shown != nil) {
		panic(fmt.Sprintf("api: operation %q does not declare what the audit log keeps of it", operation))
	}
}

// keep writes the row of a read. Without it nothing is shown.
func (t telling[O]) keep(ctx context.Context, a *API, operation string, by auth.Principal, in any, out *O) error {
	if t.how != toldRead {
		return nil
	}
	rows, patients := t.shown(out)
	err := a.config.DB.Audit(ctx, by.Tenant, store.AuditEntry{
		Action: "read", Subject: operation, Patients: patients, Detail: map[string]any{"rows": rows, "filters": filters(in)},
	})
	if err == nil {
		return nil
	}
	if ctx.Err() == nil {
		a.config.Logger.Error("a read could not be audited, and was not answered", "operation", operation, "request", problem.RequestID(ctx), "err", err)
	}
	return fmt.Errorf("%w: it could not be audited", store.ErrUnavailable)
}

// filters tells what was asked for. A text that is not from a closed list may
// be about a patient, so that only its name is told.
func filters(in any) map[string]any {
	out := map[string]any{}
	v := reflect.ValueOf(in).Elem()
	for _, f := range reflect.VisibleFields(v.Type()) {
		name, asked := f.Tag.Lookup("query")
		if !asked || v.FieldByIndex(f.Index).IsZero() {
			continue
		}
		_, closed := f.Tag.Lookup("enum")
		switch value := v.FieldByIndex(f.Index).Interface().(type) {
		case queryID:
			out[name] = uuid.UUID(value)
		case int, time.Time:
			out[name] = value
		case string:
			if out[name] = "given"; closed {
				out[name] = value
			}
		default:
			out[name] = "given"
		}
	}
	return out
}

// purpose is why the caller looks, where the operation takes it.
func purpose(ctx context.Context, in any) (string, error) {
	field := reflect.ValueOf(in).Elem().FieldByName("Purpose")
	if !field.IsValid() {
		return "", nil
	}
	note := strings.TrimSpace(field.String())
	if !store.ValidNote(note) {
		return "", newFailure(ctx, problem.New(problem.InvalidParameter).WithErrors(problem.Field{Pointer: "/header/X-Purpose", Code: "not-a-note"}))
	}
	return note, nil
}

type originKey struct{}

// origin keeps the address that a request came from for the audit log.
func (a *API) origin(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), originKey{}, a.config.Edge.Address(r).String()))
}

// acting is who calls, from where and why.
func acting(ctx context.Context, by auth.Principal, note string) store.Hand {
	h := hand(by, note)
	h.From, _ = ctx.Value(originKey{}).(string)
	return h
}
