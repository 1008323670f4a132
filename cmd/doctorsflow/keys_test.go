package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/seal"
)

func TestKeyBeforeOpensWhileItsFileIsThere(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	now, before := seal.NewKey(), seal.NewKey()
	if err := seal.ReplaceMaster(file, now); err != nil {
		t.Fatal(err)
	}
	f := dataFlags{MasterKeyFile: file}
	if keys, err := f.masters(); err != nil || !slices.Equal(keys, []seal.Key{now}) {
		t.Errorf("alone: %d keys, %v", len(keys), err)
	}
	if err := seal.ReplaceMaster(file+".previous", before); err != nil {
		t.Fatal(err)
	}
	if keys, err := f.masters(); err != nil || !slices.Equal(keys, []seal.Key{now, before}) {
		t.Errorf("with the one before: %d keys, %v", len(keys), err)
	}
	if err := os.Chmod(file+".previous", 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := f.masters(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v", err)
	}
}

func TestKeysCommandsSayWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	if err := seal.ReplaceMaster(file, seal.NewKey()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, want string }{
		{"keys rotate-master", "--new-file"},
		{"keys rotate-master --new-file " + file, "no such file"}, // nothing is served from there
		{"keys rotate-master --new-file " + file + " --master-key-file " + file, file + ".previous"},
		{"keys rotate-tenant", "name one clinic"},
		{"keys rotate-tenant x --all", "name one clinic"},
		{"patient find --tenant x", "--phone or --last4"},
		{"patient find --tenant x --phone 010-0000-0000 --last4 0000", "--phone or --last4"},
		{"patient find --tenant x --phone 119", "mobile"},
		{"patient erase P-1 --tenant x", "--yes"},
		{"tenant erase x", "--yes"},
	} {
		var out, errs bytes.Buffer
		data := filepath.Join(dir, "nothing")
		code := run(t.Context(), append(strings.Fields(tt.args), "--data", data), &out, &errs)
		if code == 0 || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%s: exit %d, %q; want it to say %q", tt.args, code, errs.String(), tt.want)
		}
		if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s made the folder", tt.args)
		}
	}
}
