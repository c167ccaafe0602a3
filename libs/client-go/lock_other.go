//go:build !unix

package penstock

import "os"

// lockFile does nothing here: who uses the directory sees to it that it is used once.
func lockFile(*os.File) error { return nil }
