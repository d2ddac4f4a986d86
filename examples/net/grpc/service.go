package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// text is the message of all methods.
type text = wrapperspb.StringValue

// The methods of the service.
const (
	say     = "/demo.Board/Say"     // all devices of the person hear the text
	listen  = "/demo.Board/Listen"  // a stream of the texts
	signOut = "/demo.Board/SignOut" // ends the token of the device of that name
)

// boardServer is the service. Programs have protoc generate this type and the rest of this file.
type boardServer interface {
	say(ctx context.Context, in *text) (*text, error)
	listen(in *text, stream grpc.ServerStream) error
	signOut(ctx context.Context, in *text) (*text, error)
}

var boardService = grpc.ServiceDesc{
	ServiceName: "demo.Board",
	HandlerType: (*boardServer)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "Say", Handler: unary(say, boardServer.say)},
		{MethodName: "SignOut", Handler: unary(signOut, boardServer.signOut)},
	},
	Streams: []grpc.StreamDesc{{StreamName: "Listen", ServerStreams: true, Handler: func(srv any, stream grpc.ServerStream) error {
		in := new(text)
		if err := stream.RecvMsg(in); err != nil {
			return err
		}
		return srv.(boardServer).listen(in, stream)
	}}},
}

// unary returns the handler of a unary method by its full name.
func unary(method string, call func(boardServer, context.Context, *text) (*text, error)) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		in := new(text)
		if err := decode(in); err != nil {
			return nil, err
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: method}
		return intercept(ctx, in, info, func(ctx context.Context, in any) (any, error) {
			return call(srv.(boardServer), ctx, in.(*text))
		})
	}
}
