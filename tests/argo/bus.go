package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// bus is NATS with JetStream and TLS, on which Argo's client insists.
type bus struct {
	options *server.Options
	server  *server.Server
	url     string
}

func startBus(folder string) (*bus, error) {
	certificate, err := selfSigned()
	if err != nil {
		return nil, err
	}
	one := &bus{options: &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true,
		JetStream: true, StoreDir: filepath.Join(folder, "bus"), LogFile: filepath.Join(folder, "bus.log"),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}, TLSTimeout: 10,
	}}
	if err := one.start(); err != nil {
		return nil, err
	}
	one.options.Port = one.server.Addr().(*net.TCPAddr).Port // from now on where it has been
	one.url = "nats://" + one.server.Addr().String()
	return one, nil
}

func (b *bus) start() error {
	made, err := server.NewServer(b.options)
	if err != nil {
		return err
	}
	made.ConfigureLogger()
	made.Start()
	if !made.ReadyForConnections(time.Minute) {
		return errors.New("the bus does not start")
	}
	b.server = made
	return nil
}

func (b *bus) stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// records are what the bus keeps of each Sensor: its consumers with the messages that they have
// before them, and its buckets with their keys.
type records struct {
	Messages  uint64              `json:"messages"`
	Consumers map[string]uint64   `json:"consumers"`
	Buckets   map[string][]string `json:"buckets"`
}

func (b *bus) records() (*records, error) {
	connection, stream, err := b.connect()
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	found := &records{Consumers: map[string]uint64{}, Buckets: map[string][]string{}}
	if info, err := stream.StreamInfo("default"); err == nil {
		found.Messages = info.State.Msgs
	}
	for one := range stream.ConsumersInfo("default") {
		found.Consumers[one.Name] = one.NumPending + uint64(one.NumAckPending)
	}
	for name := range stream.KeyValueStoreNames() {
		store, err := stream.KeyValue(name)
		if err != nil {
			return nil, err
		}
		keys, err := store.Keys()
		if err != nil && !errors.Is(err, nats.ErrNoKeysFound) {
			return nil, err
		}
		found.Buckets[name] = append([]string{}, keys...)
	}
	return found, nil
}

// clear forgets every message and everything about Sensors.
func (b *bus) clear() error {
	connection, stream, err := b.connect()
	if err != nil {
		return err
	}
	defer connection.Close()
	for name := range stream.ConsumerNames("default") {
		if err := stream.DeleteConsumer("default", name); err != nil {
			return err
		}
	}
	for name := range stream.KeyValueStoreNames() {
		if err := stream.DeleteKeyValue(name); err != nil {
			return err
		}
	}
	return stream.PurgeStream("default")
}

func (b *bus) connect() (*nats.Conn, nats.JetStreamContext, error) {
	connection, err := nats.Connect(b.url, nats.Secure(&tls.Config{InsecureSkipVerify: true}))
	if err != nil {
		return nil, nil, err
	}
	stream, err := connection.JetStream()
	return connection, stream, err
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
