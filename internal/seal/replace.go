package seal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ReplaceMaster makes path hold k, mode 0600: whoever reads it at any moment,
// also after a loss of power, reads the key before or this one, whole.
func ReplaceMaster(path string, k Key) error {
	if k.IsZero() {
		panic("seal: the zero key hides nothing")
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".master-*") // mode 0600
	if err != nil {
		return fmt.Errorf("seal: replace master key: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(k[:]) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		if err = os.Rename(f.Name(), path); err == nil {
			err = syncDir(dir)
		}
	}
	if err != nil {
		return fmt.Errorf("seal: replace master key: %w", err)
	}
	return nil
}
