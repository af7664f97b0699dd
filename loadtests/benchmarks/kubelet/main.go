// Serves a kubelet's port-forward by the kubelet's own code, every pod being one port of this machine.
//
// It builds inside Kubernetes' source: copy it to cmd/podforward there, then `go build ./cmd/podforward`.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/kubernetes/pkg/kubelet/cri/streaming/portforward"
)

type ports struct{ local string }

func (p ports) PortForward(name string, uid types.UID, port int32, stream io.ReadWriteCloser) error {
	connection, err := net.Dial("tcp", p.local)
	if err != nil {
		return err
	}
	defer connection.Close()
	done := make(chan error, 2)
	go func() {
		_, err := io.Copy(stream, connection)
		done <- err
	}()
	go func() {
		_, err := io.Copy(connection, stream)
		connection.(*net.TCPConn).CloseWrite()
		if err != nil {
			done <- err
		}
	}()
	return <-done
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	local := flag.String("pod", "", "host:port that plays the pod")
	certificate := flag.String("cert", "", "file")
	key := flag.String("key", "", "file")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/")
		options, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		portforward.ServePortForward(w, r, ports{*local}, parts[len(parts)-1], "", options,
			4*time.Hour, 30*time.Second, portforward.SupportedProtocols)
	})}
	log.Fatal(server.ServeTLS(listener, *certificate, *key))
}
