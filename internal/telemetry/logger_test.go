package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/telemetry"
)

func TestLogsAreJSONUnlessAPersonReadsThem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		format string
		json   bool
	}{{"auto", true}, {"json", true}, {"text", false}, {"", true}, {"yaml", true}} {
		var out bytes.Buffer
		telemetry.NewLogger(&out, tt.format, "info").Info("hello", "n", 1)
		if got := json.Valid(out.Bytes()); got != tt.json {
			t.Errorf("format %q: %s is JSON: %v, want %v", tt.format, out.String(), got, tt.json)
		}
		if !strings.Contains(out.String(), "hello") || strings.Contains(out.String(), "\x1b") {
			t.Errorf("format %q: %q", tt.format, out.String())
		}
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	telemetry.NewLogger(f, "auto", "info").Info("hello")
	if b, _ := os.ReadFile(f.Name()); !json.Valid(b) {
		t.Errorf("a file is taken for a terminal: %s", b)
	}
}

func TestTheLevelHolds(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError, "loud": slog.LevelInfo, "": slog.LevelInfo,
	} {
		for _, format := range []string{"text", "json"} {
			l := telemetry.NewLogger(new(bytes.Buffer), format, level)
			if !l.Enabled(context.Background(), want) || l.Enabled(context.Background(), want-1) {
				t.Errorf("level %q (%s) is not %v", level, format, want)
			}
		}
	}
}
