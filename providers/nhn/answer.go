package nhn

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/doctorsflow/doctorsflow/providers"
)

// buffer is a reused buffer for requests and answers. It does not outlive its
// call, and a large one is not kept: patients' texts pass through it.
type buffer struct{ bytes.Buffer }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func newBuffer() *buffer {
	b, _ := buffers.Get().(*buffer)
	b.Reset()
	return b
}

func (b *buffer) release() {
	if b.Cap() <= 64<<10 {
		buffers.Put(b)
	}
}

// encode writes v as JSON; only types that can be encoded are passed.
func encode(v any) (*buffer, error) {
	b := newBuffer()
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		b.release()
		return nil, errors.New("the message cannot be written as JSON")
	}
	return b, nil
}

// answer is one whole answer. release it when its body is decoded.
type answer struct {
	status int
	after  time.Duration
	body   *buffer
}

func (a *answer) release() { a.body.release() }

// readAnswer reads a body of at most 1 MiB to its end, so that the connection
// can be used again; a longer one is given up together with its connection.
func readAnswer(resp *http.Response) (*answer, error) {
	defer resp.Body.Close()
	if resp.ContentLength > maxAnswer {
		return nil, errTooLong
	}
	b := newBuffer()
	n, err := b.ReadFrom(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && n > maxAnswer {
		err = errTooLong
	}
	if err != nil {
		b.release()
		return nil, err
	}
	return &answer{status: resp.StatusCode, after: retryAfter(resp.Header.Get("Retry-After"), time.Now()), body: b}, nil
}

// number is an integer that NHN writes as 1, "1" or null.
type number struct {
	n   int
	set bool
}

// UnmarshalJSON implements [json.Unmarshaler].
func (v *number) UnmarshalJSON(b []byte) error {
	b = bytes.Trim(b, `"`)
	if len(b) == 0 || string(b) == "null" {
		*v = number{}
		return nil
	}
	n, err := strconv.Atoi(string(b))
	if err != nil {
		return errors.New("not an integer")
	}
	*v = number{n, true}
	return nil
}

// word is an id or a code that NHN writes as "1000", 1000 or null.
type word string

// UnmarshalJSON implements [json.Unmarshaler].
func (v *word) UnmarshalJSON(b []byte) error {
	*v = ""
	switch {
	case string(b) == "null":
		return nil
	case b[0] == '"' && bytes.IndexByte(b, '\\') < 0:
		*v = word(b[1 : len(b)-1])
		return nil
	case b[0] == '"':
		return json.Unmarshal(b, (*string)(v))
	case b[0] == '{' || b[0] == '[':
		return errors.New("not a word")
	}
	*v = word(b)
	return nil
}

// plain reports whether a gateway's word may go into our ledger, subjects and
// logs: 1 to limit characters of A–Z a–z 0–9 _ -.
func (v word) plain(limit int) bool {
	if len(v) == 0 || len(v) > limit {
		return false
	}
	for i := range len(v) {
		c := v[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

const (
	maxID   = 64 // NHN documents 25
	maxCode = 16
)

// header is the head of every answer. Its resultMessage is not read: it may
// quote the request.
type header struct {
	OK   *bool  `json:"isSuccessful"`
	Code number `json:"resultCode"`
}

// envelope is the part that every answer has; embed it.
type envelope struct {
	Header *header `json:"header"`
}

func (e *envelope) head() *header { return e.Header }

// verdict is what an answer says of one recipient.
type verdict struct {
	Seq  number `json:"recipientSeq"`
	Code number `json:"resultCode"`
	Key  word   `json:"recipientGroupingKey"`
}

// sent is a product's answer to a send, without its wrapping.
type sent struct {
	header *header
	id     word
	// failed is set where the product says so of the whole request.
	failed   bool
	verdicts []verdict
}

// ambiguous says that a request may have been accepted.
func ambiguous(a *answer, why string) *providers.SendError {
	return &providers.SendError{Kind: providers.Ambiguous, After: a.after, Err: errors.New(why)}
}

// judge says what an answer proves about the one message of its request. decode
// reads the product's wrapping; table holds the product's own codes, and what
// is documented there as a refusal is the only proof that nothing was accepted.
func judge(a *answer, key string, table refusals, decode func([]byte) (sent, error)) (providers.Receipt, *providers.SendError) {
	switch {
	case a.status == http.StatusTooManyRequests:
		return providers.Receipt{}, &providers.SendError{
			Kind: providers.Throttled, Scope: providers.Sender, Code: "429", After: a.after, Err: errors.New("too many requests"),
		}
	case a.status >= 500:
		// Whatever its body says: what failed may have failed after accepting.
		return providers.Receipt{}, ambiguous(a, "HTTP status "+strconv.Itoa(a.status))
	}
	s, err := decode(a.body.Bytes())
	if err != nil {
		s.header = nil
	}
	r, refused := s.judge(a, key, table)
	if refused != nil && refused.Kind == providers.Ambiguous && a.status == http.StatusUnauthorized {
		// RFC 9110, 15.5.2: "the request has not been applied because it
		// lacks valid authentication credentials".
		return r, &providers.SendError{
			Kind: providers.Rejected, Scope: providers.Sender, Code: "401", Err: errors.New("HTTP status 401"),
		}
	}
	return r, refused
}

func (s sent) judge(a *answer, key string, table refusals) (none providers.Receipt, _ *providers.SendError) {
	if s.header == nil || s.header.OK == nil || !s.header.Code.set {
		return none, ambiguous(a, "an answer that cannot be read, with HTTP status "+strconv.Itoa(a.status))
	}
	ok, code := *s.header.OK, s.header.Code.n
	switch {
	case ok != (code == 0):
		return none, ambiguous(a, "an answer that contradicts itself")
	case !ok && (!table[code].each || len(s.verdicts) == 0):
		return none, table.refuse(code, a)
	case ok && (a.status < 200 || a.status > 299):
		return none, ambiguous(a, "success with HTTP status "+strconv.Itoa(a.status))
	case len(s.verdicts) != 1:
		return none, ambiguous(a, "not one result for one recipient")
	}
	v := s.verdicts[0]
	switch {
	case v.Key != "" && string(v.Key) != key:
		return none, ambiguous(a, "an answer to another request")
	case v.Code.n != 0:
		return none, table.refuse(v.Code.n, a)
	case !ok && !v.Code.set:
		return none, table.refuse(code, a)
	case !ok, s.failed:
		return none, ambiguous(a, "an answer that contradicts itself")
	case !s.id.plain(maxID) || v.Seq.n < 0:
		return none, ambiguous(a, "an acceptance without a usable id")
	}
	if !v.Seq.set {
		v.Seq.n = 1 // recipients are counted from 1, and there is one
	}
	return providers.Receipt{RequestID: string(s.id), Seq: v.Seq.n}, nil
}
