package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// device is a client with a token of its own.
type device struct {
	conn   *grpc.ClientConn
	bearer string
}

// signed returns ctx with the token of d, as the server reads it.
func (d *device) signed(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+d.bearer)
}

// call calls a unary method.
func (d *device) call(ctx context.Context, method, in string) error {
	return d.conn.Invoke(d.signed(ctx), method, wrapperspb.String(in), new(text))
}

// listen opens the stream, and returns once the server holds it.
func (d *device) listen(ctx context.Context) (grpc.ClientStream, error) {
	stream, err := d.conn.NewStream(d.signed(ctx), &boardService.Streams[0], listen)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(new(text)); err != nil {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	_, err = stream.Header()
	return stream, err
}

// hear returns the next text of a stream, or why it has ended.
func hear(stream grpc.ClientStream) (string, error) {
	said := new(text)
	err := stream.RecvMsg(said)
	return said.Value, err
}
