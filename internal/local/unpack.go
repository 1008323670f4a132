package local

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// packed is the folder of the package that holds the programs.
const packed = "package/native/"

// unpack writes the programs in an npm tarball to dir. Nothing is written
// outside dir, whatever the tarball says: a name that leads out is an error, as
// is anything but a file or a folder, and os.Root follows no link that leads out.
func unpack(tarball, dir string) error {
	f, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer f.Close()
	zipped, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	entries := tar.NewReader(zipped)
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return restoreLinks(root)
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(h.Name, packed)
		if !ok || name == "" {
			continue
		}
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%s is outside the package", h.Name)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = makeDirs(root, name)
		case tar.TypeReg:
			err = writeEntry(root, name, h.FileInfo().Mode(), entries)
		default:
			err = fmt.Errorf("%s is neither a file nor a folder", h.Name)
		}
		if err != nil {
			return err
		}
	}
}

// writeEntry sets modes after the fact, so that no umask hides the programs
// from the user who runs them.
func writeEntry(root *os.Root, name string, mode fs.FileMode, r io.Reader) error {
	if err := makeDirs(root, path.Dir(name)); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Chmod(0o644|mode&0o111), f.Close())
}

func makeDirs(root *os.Root, name string) error {
	name = path.Clean(name)
	if fi, err := root.Stat(name); err == nil && fi.IsDir() {
		return nil
	}
	if parent := path.Dir(name); parent != "." {
		if err := makeDirs(root, parent); err != nil {
			return err
		}
	}
	if err := root.Mkdir(name, 0o755); err != nil {
		return err
	}
	return root.Chmod(name, 0o755)
}

// linkFile lists the symbolic links, which npm leaves out of packages, by
// names that begin with native/. The package's own install script reads it.
const linkFile = "pg-symlinks.json"

func restoreLinks(root *os.Root) error {
	b, err := root.ReadFile(linkFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(b, &links); err != nil {
		return fmt.Errorf("%s: %w", linkFile, err)
	}
	for _, l := range links {
		file, link := strings.TrimPrefix(l.Source, "native/"), strings.TrimPrefix(l.Target, "native/")
		// A link's own place is os.Root's to check, but not what it points to.
		if !filepath.IsLocal(file) {
			return fmt.Errorf("%s: %q is outside the package", linkFile, l.Source)
		}
		to, err := filepath.Rel(filepath.Dir(link), file)
		if err != nil {
			return fmt.Errorf("%s: %w", linkFile, err)
		}
		if err := root.Symlink(to, link); err != nil {
			return err
		}
	}
	return nil
}
