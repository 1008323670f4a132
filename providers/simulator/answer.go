package simulator

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// fault is something wrong on the wire, instead of or besides the answer.
type fault uint8

const (
	faultNone    fault = iota
	faultHTTP500       // system error in an envelope, not processed
	faultHTTP502       // a proxy's HTML, not processed
	faultHTTP503       // empty, not processed
	faultRefuse        // no connection; over a real listener it is faultReset
	faultReset         // connection reset before processing
	faultHang          // no answer for 30 s, not processed
	faultSlow          // ten times the latency
	// The request is processed and its answer is lost or spoilt.
	faultAcceptHang
	faultAcceptReset
	faultTruncated
	faultEmpty
	faultNoID // a success envelope without requestId
)

// unprocessed reports whether the fault keeps the request from the gateway.
func (f fault) unprocessed() bool { return f != faultNone && f < faultSlow }

// wire says how an answer leaves.
type wire uint8

const (
	wireWhole  wire = iota
	wireReset       // the connection dies without an answer
	wireRefuse      // the connection was never made
)

// answer is what a request gets.
type answer struct {
	status     int
	body       []byte
	mime       string // "" is JSON
	retryAfter time.Duration
	// code is the envelope's, for metrics and the request record.
	code  int
	wire  wire
	extra map[string]string // further head fields of a scripted answer
}

const jsonType = "application/json;charset=UTF-8"

// header is the envelope's head; resultCode is an integer here and a string
// in query results.
type header struct {
	OK      bool   `json:"isSuccessful"`
	Code    int    `json:"resultCode"`
	Message string `json:"resultMessage"`
}

func headerOf(p Product, code int) header {
	texts := smsAnswers
	if p == Alimtalk {
		texts = alimtalkAnswers
	}
	return header{OK: code == 0, Code: code, Message: texts[code]}
}

// reply is a 200 answer with a body of the product's shape.
func reply(code int, v any) answer {
	b, err := json.Marshal(v)
	if err != nil { // only a type that cannot be encoded; none is passed
		panic("simulator: encode answer: " + err.Error())
	}
	return answer{status: http.StatusOK, body: b, code: code}
}

// refuse answers with an envelope that holds only a code.
func (c *call) refuse(code int) answer { return c.refuseWith(headerOf(c.product, code)) }

// refuseWith answers with an envelope that holds only h, with the status that
// the rules give to business errors.
func (c *call) refuseWith(h header) answer {
	return c.failed(reply(h.Code, struct {
		Header header `json:"header"`
	}{h}))
}

// failed gives an answer the status that the rules give to business errors.
func (c *call) failed(a answer) answer {
	if s := c.set.rules.ErrorStatus; s != 0 {
		a.status = s
	}
	return a
}

// invalid answers code 4, naming the field.
func (c *call) invalid(field string) answer {
	h := headerOf(c.product, 4)
	h.Message = "The '" + field + "' is invalid."
	return c.refuseWith(h)
}

// throttled is the answer to too many requests. The envelope's code is not
// documented; the status says it all.
func (c *call) throttled() answer {
	a := reply(http.StatusTooManyRequests, struct {
		Header header `json:"header"`
	}{header{Code: http.StatusTooManyRequests, Message: "Too many requests."}})
	a.status = http.StatusTooManyRequests
	a.retryAfter = time.Duration(c.set.rules.RetryAfter)
	return a
}

// broken is the answer of a fault that keeps the request from being processed.
func (c *call) broken(f fault) answer {
	switch f {
	case faultHTTP500:
		a := c.refuse(-9999)
		a.status = http.StatusInternalServerError
		return a
	case faultHTTP502:
		return answer{
			status: http.StatusBadGateway, mime: "text/html", code: http.StatusBadGateway,
			body: []byte("<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>\n"),
		}
	case faultHTTP503:
		return answer{status: http.StatusServiceUnavailable, mime: "text/plain", code: http.StatusServiceUnavailable}
	case faultRefuse:
		return answer{wire: wireRefuse}
	}
	return answer{wire: wireReset}
}

// spoil applies the fault that hits an answer after its request was processed.
func (a answer) spoil(f fault) answer {
	switch f {
	case faultAcceptHang, faultAcceptReset:
		return answer{wire: wireReset, code: a.code}
	case faultTruncated:
		a.body = a.body[:len(a.body)/2]
	case faultEmpty:
		a.body = nil
	}
	return a
}

// fill writes the answer's head fields.
func (a answer) fill(h http.Header) {
	h.Set("Content-Type", a.mime)
	if a.mime == "" {
		h.Set("Content-Type", jsonType)
	}
	if a.retryAfter > 0 {
		secs := int64((a.retryAfter + time.Second - 1) / time.Second)
		h.Set("Retry-After", strconv.FormatInt(secs, 10))
	}
	for k, v := range a.extra {
		h.Set(k, v)
	}
}
