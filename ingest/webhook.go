package ingest

import (
	"bytes"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/strictjson"
)

// jsonLimits refuses keys that differ in case only besides what it bounds:
// encoding/json reads the last of them, a workflow may read the first.
var jsonLimits = strictjson.Limits{FoldCase: true}

// webhook serves POST /api/webhooks/{id}.
func (in *Ingest) webhook(w http.ResponseWriter, r *http.Request) {
	received := time.Now()
	id, ok := parseID(r.PathValue("id"))
	if len(r.TransferEncoding) > 0 {
		// RFC 9112 §6.3: a request whose length was told in two ways must be
		// the connection's last. net/http hides the second way, so every
		// chunked request is.
		w.Header().Set("Connection", "close")
	}
	c := in.calls.Get().(*call)
	slug := checkForm(r)
	if slug == "" {
		slug = c.readBody(w, r)
	}
	if slug != "" {
		in.calls.Put(c)
		v := in.strange(r, verdict{problem: slug})
		if ok && v.retry == 0 {
			in.refusals.addEarly(earlyRefusal{id, problem.New(slug).Status, reason(slug), received})
		}
		hangUp(w)
		in.refuse(w, r, v)
		return
	}
	v, reusable := in.judge(r, c, id, ok, received)
	if v.problem != "" {
		if v.endpoint != nil && !v.recorded {
			in.record(r, c, &v, received)
		}
		in.refuse(w, r, v)
	} else {
		failpoint.Hit(failpoint.IngestAnswering)
		in.accept(w, c, v.result, received)
	}
	if reusable {
		in.calls.Put(c)
	}
}

// judge checks the call and commits it. reusable tells whether the committer
// has let go of c.
func (in *Ingest) judge(r *http.Request, c *call, id uuid.UUID, canonical bool, received time.Time) (v verdict, reusable bool) {
	now := time.Now()
	var e *endpoint
	if canonical {
		var err error
		e, err = in.endpoints.get(r.Context(), id, now, func() bool { return in.config.Edge.Wary(r) })
		if r.Context().Err() == nil { // a caller that left is no outage
			in.lookups.report(err)
		}
		if err != nil {
			return failed(err), true
		}
	}
	v.endpoint = e
	sig := readSignature(r.Header)
	legacy := e != nil && e.LegacySignature && !sig.standard()
	if v.signed, v.reason = in.authenticate(e, &sig, legacy, r.URL.RawQuery, c, now); v.reason != "" {
		// Before this line nothing may be answered that depends on whether
		// the webhook exists.
		in.floor.wait(r.Context(), now)
		v.problem = problem.InvalidSignature
		return in.strange(r, v), true
	}
	if v.retry = in.limits.take(&e.Webhook, now); v.retry > 0 {
		v.problem = problem.RateLimited
		return v, true
	}
	c.accept = store.Accept{
		Tenant: e.Tenant, WebhookID: e.ID, Source: e.source, EventID: sig.id,
		Kind: event.Webhook, Body: c.body, Received: received,
	}
	if v.problem, v.errors = in.inspect(c, e, legacy); v.problem != "" {
		return v, true
	}
	o, reusable := in.commits.do(c, now.Add(in.config.Deadline))
	switch {
	case errors.Is(o.err, store.ErrNotFound), errors.Is(o.err, store.ErrErased):
		in.floor.wait(r.Context(), now)
		return verdict{problem: problem.InvalidSignature, reason: unknownEndpoint}, reusable
	case o.err != nil:
		return failed(o.err), reusable
	case o.result.Status == store.Conflict:
		v.problem, v.recorded = problem.IdempotencyConflict, true
	case o.result.Status == store.Accepted, o.result.Status == store.Duplicate:
		v.result = o.result
	default:
		return verdict{problem: problem.Internal}, reusable
	}
	return v, reusable
}

// strange makes another answer of the verdict on a call that proved nothing, if
// its address had too many of those. The webhook's history keeps the reason.
func (in *Ingest) strange(r *http.Request, v verdict) verdict {
	if wait := in.config.Edge.Strange(r); wait > 0 {
		v.problem, v.retry = problem.RateLimited, wait
	}
	return v
}

// authenticate says whether the signature is good, and why the call is refused
// nevertheless, or "". It does the same work for a webhook that does not exist.
func (in *Ingest) authenticate(e *endpoint, sig *signature, legacy bool, query string, c *call, now time.Time) (signed bool, why reason) {
	keys := in.stranger
	if e != nil {
		keys = e.signers(now)
	}
	if legacy {
		why = sig.verifyLegacy(keys, c.body, &c.scratch)
	} else {
		why = sig.verify(keys, c.body, now, &c.scratch)
	}
	signed = e != nil && why == ""
	switch {
	case e == nil:
		why = unknownEndpoint
	case hasSecret(query):
		why = secretInQuery
	case signed && !e.Enabled:
		why = disabledEndpoint
	}
	return signed, why
}

// inspect checks the body and reads the event's type, and a legacy event's id,
// into c.
func (in *Ingest) inspect(c *call, e *endpoint, legacy bool) (problem.Slug, []problem.Field) {
	trimmed := bytes.TrimSpace(c.body)
	if len(trimmed) == 0 {
		return problem.Schema, []problem.Field{{Code: "empty"}}
	}
	if err := strictjson.Check(c.body, jsonLimits); err != nil {
		e, ok := errors.AsType[*strictjson.Error](err)
		if !ok {
			return problem.MalformedJSON, nil
		}
		// Every code of the check is a slug too, and its pointer may be shown.
		return problem.Slug(e.Code), []problem.Field{{Pointer: e.Pointer, Code: string(e.Code)}}
	}
	if trimmed[0] != '{' {
		return problem.Schema, []problem.Field{{Code: "not-an-object"}}
	}
	p := payload{body: c.body}
	eventType, eventID := p.read(&e.Webhook, legacy, in.config.Phone)
	if len(p.errors) > 0 {
		return problem.InvalidPayload, p.errors
	}
	c.accept.EventType = eventType
	if legacy {
		c.accept.EventID = eventID
	}
	return "", nil
}
