package edge

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// MaxConns is how many connections are open at one time. The next ones wait
// until one of them ends, which an idle or a slow one does by itself.
const MaxConns = 4096

// The times that a connection may take.
const (
	HeaderTime = 5 * time.Second  // for a request's headers to arrive
	BodyTime   = 10 * time.Second // for the whole request to arrive
	AnswerTime = 30 * time.Second // from the headers on, for the answer to be read
	IdleTime   = 2 * time.Minute  // between two requests
)

// MaxHeader is the largest head of a request, in bytes, of which net/http lets
// through 4 KiB more.
const MaxHeader = 16 << 10

// Server returns a server of h whose connections cost little and end by
// themselves. What net/http says of a broken connection is logged at debug.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: HeaderTime, ReadTimeout: BodyTime, WriteTimeout: AnswerTime, IdleTimeout: IdleTime,
		MaxHeaderBytes: MaxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Listen listens on address for [MaxConns] connections at one time.
func Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return netutil.LimitListener(l, MaxConns), nil
}
