package fetch

import (
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"io"
	"log"
	"net/http/httptest"
)

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func certificate(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// encodeEntry gives a whole entry of the cache.
func encodeEntry(data []byte) []byte { return append(entryHeader([][]byte{data}), data...) }
