package exports

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Bounds of a watched folder.
const (
	// MaxFile bounds one file, in bytes.
	MaxFile = 64 << 20
	// rest is how long a file has to stay as it is before it is taken for whole.
	rest = 2 * time.Second
	// longest is how long a folder waits after failures.
	longest = time.Minute
)

// The folders below the watched one.
const (
	doneFolder     = "done"
	rejectedFolder = "rejected"
)

// Folder is a folder whose files are sent. A file that was sent goes to done/;
// the rows that were not taken are written to rejected/ with a column that says
// why, to be corrected and put in again. Whoever dies in between sends the file
// once more, which changes nothing.
type Folder struct {
	Path   string
	Client *Client
	Log    *slog.Logger

	seen map[string]file
}

// file is a file as it was last seen.
type file struct {
	name string
	size int64
	at   time.Time
}

// Watch sends what is put into the folder until ctx ends. Its error is of the
// folder itself, or wraps [ErrKey]; everything else is logged and tried again.
func (f *Folder) Watch(ctx context.Context) error {
	for _, sub := range []string{doneFolder, rejectedFolder} {
		if err := os.MkdirAll(filepath.Join(f.Path, sub), 0o700); err != nil {
			return fmt.Errorf("exports: watch: %w", err)
		}
	}
	wait := rest
	for {
		sent, err := f.Scan(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrKey), errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
			return err
		case err != nil:
			wait = min(2*wait, longest)
			f.Log.Warn("a file could not be sent; it stays and is sent again", "in", wait, "err", err)
		case sent > 0 || wait > rest:
			wait = rest
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Scan sends every file that has come to rest since the last time, the older
// first, and returns how many left the folder.
func (f *Folder) Scan(ctx context.Context) (sent int, err error) {
	entries, err := os.ReadDir(f.Path)
	if err != nil {
		return 0, fmt.Errorf("exports: watch: %w", err)
	}
	now, ready := map[string]file{}, []file(nil)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !isTable(e.Name()) {
			continue
		}
		it := file{e.Name(), info.Size(), info.ModTime()}
		now[it.name] = it
		if f.seen[it.name] == it && time.Since(it.at) >= rest {
			ready = append(ready, it)
		}
	}
	f.seen = now
	slices.SortFunc(ready, func(a, b file) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.name, b.name)) })
	for _, it := range ready {
		if err := f.take(ctx, it); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// isTable reports a file that is an export; what begins with a dot or ~ is
// somebody's work in progress.
func isTable(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return (ext == ".csv" || ext == ".txt" || ext == ".tsv") && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "~")
}

func (f *Folder) take(ctx context.Context, it file) error {
	path := filepath.Join(f.Path, it.name)
	if it.size > MaxFile {
		return f.reject(it.name, "64 MiB보다 큰 파일입니다. 나누어 저장해 주세요")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("exports: read: %w", err)
	}
	report, err := f.Client.Send(ctx, raw)
	if wrong, ok := errors.AsType[*WrongFile](err); ok {
		return f.reject(it.name, wrong.Error())
	}
	if err != nil {
		return err
	}
	if len(report.Rejected) > 0 {
		if err := write(filepath.Join(f.Path, rejectedFolder, it.name), report.Sheet()); err != nil {
			return err
		}
	}
	f.Log.Info("a file was sent", "file", it.name, "accepted", report.Accepted, "nothing_new", report.Duplicate, "rejected", len(report.Rejected))
	return f.move(it.name, doneFolder)
}

// reject puts a file aside of which nothing was taken, with a note beside it.
func (f *Folder) reject(name, why string) error {
	f.Log.Warn("nothing of a file was taken; a note beside it in rejected/ says why", "file", name)
	if err := write(filepath.Join(f.Path, rejectedFolder, name+".이유.txt"), []byte(why+"\r\n")); err != nil {
		return err
	}
	return f.move(name, rejectedFolder)
}

// move never writes over a file that is there.
func (f *Folder) move(name, sub string) error {
	to := filepath.Join(f.Path, sub, name)
	if _, err := os.Lstat(to); err == nil {
		ext := filepath.Ext(name)
		to = filepath.Join(f.Path, sub, strings.TrimSuffix(name, ext)+time.Now().Format(".20060102-150405.000")+ext)
	}
	if err := os.Rename(filepath.Join(f.Path, name), to); err != nil {
		return fmt.Errorf("exports: put a file aside: %w", err)
	}
	return nil
}

// write makes a file whole or not at all.
func write(path string, b []byte) error {
	part := path + ".part"
	if err := os.WriteFile(part, b, 0o600); err != nil {
		return fmt.Errorf("exports: write: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("exports: write: %w", err)
	}
	return nil
}

// Sheet is the rows that were not taken, and why, as a spreadsheet opens it; put
// into the folder again it is an export like any other.
func (r *Report) Sheet() []byte {
	b := bytes.NewBufferString("\xef\xbb\xbf")
	w := csv.NewWriter(b)
	w.UseCRLF = true
	_ = w.Write(append(slices.Clone(r.Heading), "오류")) // a buffer takes everything
	for _, row := range r.Rejected {
		cells := slices.Clone(row.Cells)
		for len(cells) < len(r.Heading) {
			cells = append(cells, "")
		}
		_ = w.Write(append(cells, row.Why()))
	}
	w.Flush()
	return b.Bytes()
}

// Why says everything that is wrong with a row, in Korean.
func (r *Rejected) Why() string {
	var all []string
	for _, p := range r.Problems {
		all = append(all, say(p))
	}
	return strings.Join(all, "; ")
}
