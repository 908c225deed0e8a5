// Package e2e has the token server as who operates it has it: a bundle that the
// tool checks, builds, unpacks and runs. There is nothing in it but tests, with
// real processes, which are killed.
package e2e
