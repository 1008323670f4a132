package seal_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/seal"
)

func TestParseMaster(t *testing.T) {
	t.Parallel()
	k := seal.NewKey()
	b64 := base64.StdEncoding.EncodeToString(k[:])
	digits := hex.EncodeToString(k[:])
	for _, text := range []string{b64, " " + b64 + "\r\n", digits, strings.ToUpper(digits) + "\n"} {
		if got, err := seal.ParseMaster(text); err != nil || got != k {
			t.Errorf("a good key was refused: %v", err)
		}
	}
	for name, text := range map[string]string{
		"empty":            "",
		"demo_secret":      "demo-secret",
		"passphrase":       "correct horse battery staple and more",
		"short":            base64.StdEncoding.EncodeToString(k[:31]),
		"long":             base64.StdEncoding.EncodeToString(append(k[:], 1)),
		"no_padding":       strings.TrimRight(b64, "="),
		"broken_line":      b64[:20] + "\n" + b64[20:],
		"hex_short":        digits[:63],
		"hex_wrong_digit":  digits[:63] + "g",
		"all_zero":         strings.Repeat("0", 64),
		"all_zero_base64":  base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"repeated":         hex.EncodeToString([]byte(strings.Repeat("changeme", 4))),
		"typed":            base64.StdEncoding.EncodeToString([]byte("aaaaaaaabbbbbbbbccccccccdddddddd")),
		"two_keys":         b64 + " " + b64,
		"trailing_garbage": b64 + "x",
	} {
		got, err := seal.ParseMaster(text)
		if !errors.Is(err, seal.ErrMaster) || !got.IsZero() {
			t.Errorf("%s was accepted: %v", name, err)
		}
		if len(text) > 10 && err != nil && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error repeats the text", name)
		}
	}
}

func TestMasterFileIsCreatedOnceAndPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	if _, err := seal.LoadMaster(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("LoadMaster error = %v, want ErrNotExist", err)
	}
	// Many processes starting at once agree on one key.
	keys := make([]seal.Key, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = seal.LoadOrCreateMaster(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k != keys[0] || k.IsZero() {
			t.Error("two starts hold different keys")
		}
	}
	if k, err := seal.LoadMaster(path); err != nil || k != keys[0] {
		t.Errorf("a later start holds another key: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files are left, %v; want the key alone", len(entries), err)
	}
}

func TestUnsafeMasterFilesAreRefusedWithTheMend(t *testing.T) {
	t.Parallel()
	k := seal.NewKey()
	good := base64.StdEncoding.EncodeToString(k[:]) + "\n"
	tests := []struct {
		name, text string
		mode       fs.FileMode
		want       string // in the error; "" for none
	}{
		{"private", good, 0o600, ""},
		{"read_only", good, 0o400, ""},
		{"group_readable", good, 0o640, "run: chmod 600 "},
		{"world_readable", good, 0o644, "(mode 0644); run: chmod 600 "},
		{"group_writable", good, 0o620, "run: chmod 600 "},
		{"empty", "", 0o600, "openssl rand -base64 32"},
		{"cut", good[:20], 0o600, "openssl rand -base64 32"},
		{"weak", strings.Repeat("00", 32), 0o600, "openssl rand -base64 32"},
		{"huge", strings.Repeat(good, 100), 0o600, "openssl rand -base64 32"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "master.key")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil { // past the umask
				t.Fatal(err)
			}
			got, err := seal.LoadOrCreateMaster(path)
			switch {
			case tt.want == "" && (err != nil || got != k):
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !got.IsZero()):
				t.Error("accepted")
			case tt.want != "" && (!strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path)):
				t.Errorf("error %q lacks %q or the path", err, tt.want)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != tt.text {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

func TestMasterFileNeedsAFolderAndAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := seal.LoadOrCreateMaster(filepath.Join(dir, "no", "such", "key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	if _, err := seal.LoadOrCreateMaster(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder as key: %v", err)
	}
}
