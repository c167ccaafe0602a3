//go:build unix

package penstock

import (
	"os"
	"syscall"
)

// lockFile takes a file until it is closed, however the process ends.
func lockFile(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
