// Package telemetry makes what a process tells its operators: the logger, the
// metrics registry, and the numbers of the conservation law. It must not know
// where those numbers come from, nor anything of patients or tenants.
package telemetry

import (
	"io"
	"log/slog"
	"os"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// NewLogger returns a logger that writes to w. The format is "text", "json", or
// "auto": text if w is a terminal. The level is "debug", "info", "warn" or
// "error". Whatever else either says means auto and info, so that a misspelt
// setting costs no log line. Text has colours only on a terminal, and not
// where NO_COLOR is set (https://no-color.org).
func NewLogger(w io.Writer, format, level string) *slog.Logger {
	var at slog.Level
	if at.UnmarshalText([]byte(level)) != nil {
		at = slog.LevelInfo
	}
	tty := terminal(w)
	if format == "json" || format != "text" && !tty {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: at}))
	}
	return slog.New(tint.NewTextHandler(w, &tint.Options{
		Level: at, TimeFormat: "15:04:05.000", NoColor: !tty || os.Getenv("NO_COLOR") != "",
	}))
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
