// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import com.google.protobuf.Timestamp
import dev.tocsin.v1.DeviceServiceGrpcKt.DeviceServiceCoroutineStub
import dev.tocsin.v1.IncidentServiceGrpcKt.IncidentServiceCoroutineStub
import io.grpc.CallOptions
import io.grpc.Channel
import io.grpc.ClientCall
import io.grpc.ClientInterceptor
import io.grpc.ConnectivityState
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener
import io.grpc.ManagedChannel
import io.grpc.Metadata
import io.grpc.MethodDescriptor
import io.grpc.StatusException
import io.grpc.StatusRuntimeException
import io.grpc.kotlin.AbstractCoroutineStub
import io.grpc.okhttp.OkHttpChannelBuilder
import java.text.ParseException
import java.text.SimpleDateFormat
import java.util.Locale
import java.util.TimeZone
import java.util.concurrent.TimeUnit.MILLISECONDS
import java.util.concurrent.TimeUnit.MINUTES
import java.util.concurrent.TimeUnit.SECONDS

/** One connection to one server, on which calls are made, and every answer tells the time. */
internal class Calls(val origin: Origin, agent: String, private val clock: Clock, private val server: ServerClock) {
    private val channel: ManagedChannel = OkHttpChannelBuilder.forAddress(origin.host, origin.port)
        .apply { if (origin.secure) useTransportSecurity() else usePlaintext() }
        .userAgent(agent)
        // A line that died in a tunnel is noticed by whoever waits for a call on it.
        .keepAliveTime(20, SECONDS)
        .keepAliveTimeout(5, SECONDS)
        .idleTimeout(2, MINUTES)
        .intercept(Timekeeper())
        .build()

    val devices = DeviceServiceCoroutineStub(channel)
    val incidents = IncidentServiceCoroutineStub(channel)

    /** The server has told its time in an answer to what was asked at [asked], by [Clock.elapsed]. */
    fun learn(serverTime: Timestamp, asked: Long) {
        if (serverTime.seconds > 0) server.learn(serverTime.toMillis(), asked, 0)
    }

    /** Whether it failed to connect, and fails calls until it tries again in its own time. */
    val down: Boolean get() = channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE

    fun close() {
        channel.shutdownNow()
    }

    /** Learns the server's time from the Date of whatever it answers. */
    private inner class Timekeeper : ClientInterceptor {
        override fun <Q, A> interceptCall(method: MethodDescriptor<Q, A>, options: CallOptions, next: Channel): ClientCall<Q, A> {
            val asked = clock.elapsed()
            return object : SimpleForwardingClientCall<Q, A>(next.newCall(method, options)) {
                override fun start(listener: Listener<A>, headers: Metadata) {
                    val telling = object : SimpleForwardingClientCallListener<A>(listener) {
                        override fun onHeaders(headers: Metadata) {
                            // A proxy may answer, with any time; only what tocsin answers has a request id.
                            if (headers.containsKey(REQUEST_ID)) date(headers.get(DATE))?.let { server.learn(it, asked, 1_000) }
                            super.onHeaders(headers)
                        }
                    }
                    super.start(telling, headers)
                }
            }
        }
    }

    companion object {
        private val DATE = Metadata.Key.of("date", Metadata.ASCII_STRING_MARSHALLER)
        private val REQUEST_ID = Metadata.Key.of("x-request-id", Metadata.ASCII_STRING_MARSHALLER)

        private fun date(text: String?): Long? =
            try {
                text?.let {
                    SimpleDateFormat("EEE, dd MMM yyyy HH:mm:ss z", Locale.US).apply { timeZone = TimeZone.getTimeZone("GMT") }.parse(it)?.time
                }
            } catch (_: ParseException) {
                null
            }

        fun bearer(credential: String): Metadata = Metadata().apply {
            if (credential.isNotEmpty()) put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer $credential")
        }

        /** Makes one call, and turns its failure into one that says what to do. */
        suspend fun <A> failing(call: suspend () -> A): A =
            try {
                call()
            } catch (e: StatusException) {
                throw TocsinException.of(e.status, e.trailers, e)
            } catch (e: StatusRuntimeException) {
                throw TocsinException.of(e.status, e.trailers, e)
            }
    }
}

internal fun Timestamp.toMillis(): Long = seconds * 1_000 + nanos / 1_000_000

internal fun timestamp(ms: Long): Timestamp =
    Timestamp.newBuilder().setSeconds(Math.floorDiv(ms, 1_000L)).setNanos((Math.floorMod(ms, 1_000L) * 1_000_000).toInt()).build()

/** A stub whose next call may take [ms] milliseconds. */
internal fun <S : AbstractCoroutineStub<S>> S.within(ms: Long): S = withDeadlineAfter(ms, MILLISECONDS)
