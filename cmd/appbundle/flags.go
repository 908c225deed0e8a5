package main

import (
	"fmt"
	"slices"
	"strings"
)

// A choice is a flag with a few values; another one is a usage error.
type choice struct {
	value   string
	allowed []string
}

// textFormat is --format of a command that reports as text or JSON.
func textFormat() *choice { return &choice{value: "text", allowed: []string{"text", "json"}} }

func (c *choice) String() string { return c.value }

// Type names the kind of value; cobra shows the name in backquotes instead.
func (c *choice) Type() string { return "choice" }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.allowed, s) {
		return fmt.Errorf("it is one of %s", strings.Join(c.allowed, ", "))
	}
	c.value = s
	return nil
}
