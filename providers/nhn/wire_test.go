package nhn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/providers"
	"github.com/doctorsflow/doctorsflow/providers/providertest"
)

// message is one that both products can send.
func message(t testing.TB) providers.Message {
	t.Helper()
	to, err := phone.Parse("01000000000", phone.Options{AllowTestBands: true})
	if err != nil {
		t.Fatal(err)
	}
	return providers.Message{
		Key: key, Group: "clinic:workflow", To: to, TemplateCode: "SIM_OK_APPT",
		Variables: map[string]string{"환자명": "김하늘", "일시": "11/24(화) 14:30"},
		Title:     "예약 안내", Body: "[미소치과] 김하늘님, 11/24(화) 14:30 예약되어 있습니다.",
	}
}

func accountAt(base string) providers.Account {
	return providers.Account{Channel: event.Kakao, BaseURL: base, AppKey: "canaryAppKey1234", Secret: "canarySecret5678", Sender: "15880000"}
}

const acceptedAnswer = `{"header":{"isSuccessful":true,"resultCode":0},"message":{"requestId":"R1","sendResults":[{"recipientSeq":1}]}}`

func sendError(t *testing.T, gw providers.Gateway) *providers.SendError {
	t.Helper()
	_, err := gw.Send(t.Context(), message(t))
	var e *providers.SendError
	if !errors.As(err, &e) {
		t.Fatalf("send: %v", err)
	}
	return e
}

// gateway makes an adapter with connections of its own.
func gateway(t *testing.T, base string, change func(*http.Transport)) *Alimtalk {
	t.Helper()
	hc := HTTPClient(HTTPOptions{})
	if change != nil {
		change(hc.Transport.(*oneShot).base)
	}
	t.Cleanup(hc.CloseIdleConnections)
	return NewAlimtalk(accountAt(base), hc)
}

func TestAConnectionThatComesTooLateIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	srv := providertest.NewServer(t, func(providertest.Request) providertest.Reply {
		return providertest.Reply{Body: []byte(acceptedAnswer)}
	})
	const limit = 30 * time.Millisecond
	var slow atomic.Bool
	var dials atomic.Int32
	slow.Store(true)
	gw := gateway(t, srv.URL(), func(tr *http.Transport) {
		dial := tr.DialContext
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			if slow.Load() {
				<-time.After(2 * limit)
			}
			return dial(ctx, network, addr)
		}
	})
	send := func(within time.Duration) error {
		m := message(t)
		if within != 0 {
			m.WriteBy = time.Now().Add(within)
		}
		_, err := gw.Send(t.Context(), m)
		return err
	}
	for _, within := range []time.Duration{limit, -limit} {
		var e *providers.SendError
		if err := send(within); !errors.As(err, &e) || e.Kind != providers.NotWritten || !errors.Is(e, errGuard) {
			t.Errorf("%v; want not written, by the guard", err)
		}
	}
	if n := len(srv.Requests()); n != 0 {
		t.Errorf("%d requests were written", n)
	}
	// The next request has its own guard, and so have the ones that reuse its
	// connection after that guard has passed.
	slow.Store(false)
	for _, within := range []time.Duration{time.Minute, 0, 10 * limit} {
		if err := send(within); err != nil {
			t.Errorf("send: %v", err)
		}
	}
	<-time.After(11 * limit)
	if _, err := gw.Find(t.Context(), key, time.Now(), time.Now()); err == nil || strings.Contains(err.Error(), "timed out") {
		t.Errorf("find on a connection whose guard has passed: %v; want an unreadable answer", err)
	}
	if n := dials.Load(); n != 3 {
		t.Errorf("%d connections; want one that came too late, one for all else that is sent and one for questions", n)
	}
}

func TestOnlyTheLackOfAConnectionProvesThatNothingWasWritten(t *testing.T) {
	t.Parallel()
	dial := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		seen uint32
		err  error
		want providers.Kind
	}{
		{0, io.EOF, providers.Ambiguous},
		{0, dial, providers.NotWritten},
		{asked, io.EOF, providers.NotWritten},
		{asked, context.DeadlineExceeded, providers.NotWritten},
		{asked | got, io.EOF, providers.Ambiguous}, // not even with nothing written that we know of
		{asked | got, context.Canceled, providers.Ambiguous},
		{asked | got, dial, providers.Ambiguous},
		{asked | got | wrote, io.EOF, providers.Ambiguous},
		{got, io.EOF, providers.Ambiguous},
		{asked | got | stopped, io.EOF, providers.NotWritten},
		{asked | got | stopped | wrote, io.EOF, providers.NotWritten},
	} {
		w := &wire{}
		w.see(c.seen)
		if e := w.failure(c.err); e.Kind != c.want {
			t.Errorf("seen %b, %v: %v; want %v", c.seen, c.err, e, c.want)
		}
	}
}

// keeper is a transport that goes on reading a request after it gave up.
type keeper struct{ kept []io.Reader }

func (k *keeper) RoundTrip(r *http.Request) (*http.Response, error) {
	k.kept = append(k.kept, r.Body)
	return nil, errors.New("gave up")
}

func TestARequestStaysWholeWhileItMayBeRead(t *testing.T) {
	t.Parallel()
	k := &keeper{}
	gw := NewAlimtalk(accountAt("http://gateway.test"), &http.Client{Transport: k})
	for i := range 50 {
		m := message(t)
		m.Key = fmt.Sprintf("key-%d:kakao", i)
		if _, err := gw.Send(t.Context(), m); err == nil {
			t.Fatal("accepted by nobody")
		}
	}
	for i, r := range k.kept {
		body, err := io.ReadAll(r)
		if want := fmt.Sprintf(`"key-%d:kakao"`, i); err != nil || !strings.Contains(string(body), want) {
			t.Errorf("request %d has become %q, %v", i, body, err)
		}
	}
}

func TestADeadPooledConnectionIsAmbiguousAndNeverWrittenTwice(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]providertest.Fault{"reset": providertest.Reset, "close": providertest.Close} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64 // the first request of two is answered
			srv := providertest.NewServer(t, func(providertest.Request) providertest.Reply {
				if n.Add(1)%2 == 1 {
					return providertest.Reply{Body: []byte(acceptedAnswer)}
				}
				return providertest.Reply{Fault: fault}
			})
			gw := gateway(t, srv.URL(), nil)
			for i := range 100 {
				_, err := gw.Send(t.Context(), message(t))
				if i%2 == 0 && err != nil {
					t.Fatalf("send %d: %v", i, err)
				}
				var e *providers.SendError
				if i%2 == 1 && (!errors.As(err, &e) || e.Kind != providers.Ambiguous) {
					t.Fatalf("send %d: %v; want ambiguous", i, err)
				}
				if got := len(srv.Requests()); got != i+1 {
					t.Fatalf("%d sends made %d requests", i+1, got)
				}
			}
		})
	}
}

// plainTripper is a transport that honours no traces.
type plainTripper struct{ err error }

func (p plainTripper) RoundTrip(*http.Request) (*http.Response, error) { return nil, p.err }

func TestATransportThatTellsNothingProvesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want providers.Kind
	}{
		"unknown error": {errors.New("boom 01000000000"), providers.Ambiguous},
		"deadline":      {context.DeadlineExceeded, providers.Ambiguous},
		"dial":          {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, providers.NotWritten},
	} {
		gw := NewAlimtalk(accountAt("http://gateway.test"), &http.Client{Transport: plainTripper{c.err}})
		if e := sendError(t, gw); e.Kind != c.want {
			t.Errorf("%s: %v; want %v", name, e, c.want)
		}
	}
}

func TestCausesQuoteNothing(t *testing.T) {
	t.Parallel()
	const canary = "canaryAppKey1234"
	inner := []error{
		errors.New(canary),
		context.Canceled,
		context.DeadlineExceeded,
		io.ErrUnexpectedEOF,
		&net.DNSError{Err: canary, Name: canary},
		&net.OpError{Op: "read", Err: errors.New(canary)},
		&net.OpError{Op: "read", Err: syscall.ECONNRESET},
	}
	for _, err := range inner {
		full := &url.Error{Op: "Post", URL: "https://h/" + canary, Err: fmt.Errorf(canary+": %w", err)}
		for got := cause(full); got != nil; got = errors.Unwrap(got) {
			if strings.Contains(fmt.Sprintf("%v %#v", got, got), canary) {
				t.Errorf("cause of %T quotes its input: %v", err, got)
			}
		}
	}
	for _, sentinel := range []error{context.Canceled, context.DeadlineExceeded, syscall.ECONNRESET, syscall.ECONNREFUSED} {
		if !errors.Is(cause(&url.Error{Err: &net.OpError{Op: "read", Err: sentinel}}), sentinel) {
			t.Errorf("the cause hides %v", sentinel)
		}
	}
}

func TestAnUnusableAccountIsTheSendersMatter(t *testing.T) {
	t.Parallel()
	good := accountAt("https://gateway.test")
	for name, change := range map[string]func(*providers.Account){
		"no base":          func(a *providers.Account) { a.BaseURL = "" },
		"base with a path": func(a *providers.Account) { a.BaseURL += "/v2" },
		"base with a user": func(a *providers.Account) { a.BaseURL = "https://u:p@gateway.test" },
		"no scheme":        func(a *providers.Account) { a.BaseURL = "gateway.test" },
		"another scheme":   func(a *providers.Account) { a.BaseURL = "ftp://gateway.test" },
		"app key":          func(a *providers.Account) { a.AppKey = "../x" },
		"no app key":       func(a *providers.Account) { a.AppKey = "" },
		"no secret":        func(a *providers.Account) { a.Secret = "" },
		"secret's newline": func(a *providers.Account) { a.Secret += "\r\nX-Evil: 1" },
		"no sender":        func(a *providers.Account) { a.Sender = "" },
	} {
		acct := good
		change(&acct)
		hc := &http.Client{Transport: plainTripper{errors.New("the network was asked")}}
		for _, gw := range []providers.Gateway{NewAlimtalk(acct, hc), NewSMS(acct, hc)} {
			e := sendError(t, gw)
			if e.Kind != providers.Rejected || e.Scope != providers.Sender || e.Code != codeAccount {
				t.Errorf("%s: %v; want rejected for the sender's sake", name, e)
			}
			if acct.Secret != "" && strings.Contains(e.Error(), acct.Secret) {
				t.Errorf("%s: the error tells the secret", name)
			}
			_, ferr := gw.Find(t.Context(), key, time.Now(), time.Now())
			_, rerr := gw.Results(t.Context(), time.Now(), time.Now())
			if !errors.Is(ferr, providers.ErrUnavailable) || !errors.Is(rerr, providers.ErrUnavailable) {
				t.Errorf("%s: find %v, results %v", name, ferr, rerr)
			}
		}
	}
	for _, base := range []string{"https://gateway.test", "https://gateway.test/", "http://127.0.0.1:8080"} {
		acct := good
		acct.BaseURL = base
		if c := newClient(acct, nil, "x"); c.err != nil {
			t.Errorf("%s: %v", base, c.err)
		}
	}
}

func TestTheCallersClientCannotFollowRedirects(t *testing.T) {
	t.Parallel()
	var caught atomic.Int32
	trap := providertest.NewServer(t, func(providertest.Request) providertest.Reply {
		caught.Add(1)
		return providertest.Reply{}
	})
	srv := providertest.NewServer(t, func(providertest.Request) providertest.Reply {
		return providertest.Reply{Status: http.StatusPermanentRedirect, Header: map[string]string{"Location": trap.URL()}}
	})
	hc := &http.Client{Transport: &http.Transport{}} // follows
	t.Cleanup(hc.CloseIdleConnections)
	gw := NewAlimtalk(accountAt(srv.URL()), hc)
	if e := sendError(t, gw); e.Kind != providers.Ambiguous {
		t.Errorf("%v; want ambiguous", e)
	}
	if _, err := gw.Find(t.Context(), key, time.Now(), time.Now()); !errors.Is(err, providers.ErrUnavailable) {
		t.Errorf("find: %v", err)
	}
	if n := caught.Load(); n != 0 {
		t.Errorf("%d requests were redirected", n)
	}
}
