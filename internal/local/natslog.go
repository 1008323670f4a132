package local

import (
	"fmt"
	"log/slog"
	"regexp"
	"sync"
)

// natsLog passes the server's warnings and errors on. What it says besides is
// of no use to whoever runs the whole as one program.
type natsLog struct {
	to *slog.Logger

	mu     sync.Mutex
	failed string // the first fatal error; the server goes on as if nothing was
}

func newNATSLog(to *slog.Logger) *natsLog {
	if to == nil {
		to = slog.New(slog.DiscardHandler)
	}
	return &natsLog{to: to.With("part", "nats")}
}

func (l *natsLog) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Fatalf keeps the reason for [StartNATS] to return.
func (l *natsLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == "" {
		l.failed = fmt.Sprintf(format, v...)
	}
}

// Errorf passes an error on.
func (l *natsLog) Errorf(format string, v ...any) {
	l.to.Error("nats-server error", "text", withoutWords(fmt.Sprintf(format, v...)))
}

// Warnf passes a warning on.
func (l *natsLog) Warnf(format string, v ...any) {
	l.to.Warn("nats-server warning", "text", withoutWords(fmt.Sprintf(format, v...)))
}

// Where the server's own texts begin to quote what a client wrote: the subject
// or the reply of what it may not do, and the bytes that are no protocol, which
// are a message's own where its length was wrong.
var clientsWords = regexp.MustCompile(`(?s)( - (?:Subject|Reply) |proto=|\(snip: ).*`)

// withoutWords leaves out what a client wrote: it may be about a patient.
func withoutWords(text string) string { return clientsWords.ReplaceAllString(text, "$1(not shown)") }

// Noticef drops what is merely notable.
func (*natsLog) Noticef(string, ...any) {}

// Debugf drops it.
func (*natsLog) Debugf(string, ...any) {}

// Tracef drops it: traces contain messages.
func (*natsLog) Tracef(string, ...any) {}
