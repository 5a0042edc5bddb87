// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import com.google.protobuf.Any
import dev.tocsin.failure.ErrorInfo
import dev.tocsin.v1.Device
import dev.tocsin.v1.DeviceServiceGrpcKt.DeviceServiceCoroutineImplBase
import dev.tocsin.v1.EnrolDeviceRequest
import dev.tocsin.v1.EnrolDeviceResponse
import dev.tocsin.v1.Incident
import dev.tocsin.v1.IncidentServiceGrpcKt.IncidentServiceCoroutineImplBase
import dev.tocsin.v1.ListIncidentsRequest
import dev.tocsin.v1.ListIncidentsResponse
import dev.tocsin.v1.WatchIncidentsRequest
import dev.tocsin.v1.WatchIncidentsResponse
import io.grpc.InsecureServerCredentials
import io.grpc.Metadata
import io.grpc.Server
import io.grpc.Status
import io.grpc.StatusException
import io.grpc.okhttp.OkHttpServerBuilder
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.After
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

/** What a real server does once a day, or never while somebody looks. */
class WatchTest {
    /** Lists two incidents on two pages, and streams what [stream] says for each cursor. */
    private inner class Fake : IncidentServiceCoroutineImplBase() {
        var lists = 0
        val cursors = ArrayList<String>()
        lateinit var stream: suspend kotlinx.coroutines.flow.FlowCollector<WatchIncidentsResponse>.(String) -> Unit

        override suspend fun listIncidents(request: ListIncidentsRequest): ListIncidentsResponse = if (request.pageToken.isEmpty()) {
            lists++
            ListIncidentsResponse.newBuilder().addIncidents(incident("a", 3)).setWatchCursor("list$lists").setNextPageToken("2").build()
        } else {
            ListIncidentsResponse.newBuilder().addIncidents(incident("b", 1)).setWatchCursor("too late").build()
        }

        override fun watchIncidents(request: WatchIncidentsRequest): Flow<WatchIncidentsResponse> = flow {
            cursors += request.cursor
            stream(request.cursor)
        }
    }

    private val devices = object : DeviceServiceCoroutineImplBase() {
        override suspend fun enrolDevice(request: EnrolDeviceRequest): EnrolDeviceResponse =
            EnrolDeviceResponse.newBuilder().setCredential("tcd_x").setDevice(Device.newBuilder().setName("devices/x")).build()
    }

    private val fake = Fake()
    private val server: Server = OkHttpServerBuilder.forPort(0, InsecureServerCredentials.create()).addService(fake).addService(devices).build().start()
    private val phone = Phone(Disk(), Disk(), "Test/1.0")

    @After
    fun end() {
        phone.close()
        server.shutdownNow()
    }

    private fun incident(name: String, revision: Long) = Incident.newBuilder().setName("incidents/$name").setRevision(revision).build()

    private fun change(cursor: String, name: String, revision: Long) =
        WatchIncidentsResponse.newBuilder().setCursor(cursor).setIncident(incident(name, revision)).build()

    private fun failed(status: Status, reason: String): StatusException {
        val trailers = Metadata()
        val info = Any.newBuilder().setTypeUrl("type.googleapis.com/google.rpc.ErrorInfo").setValue(ErrorInfo.newBuilder().setReason(reason).build().toByteString())
        val details = dev.tocsin.failure.Status.newBuilder().setCode(status.code.value()).addDetails(info).build()
        trailers.put(Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER), details.toByteArray())
        return StatusException(status, trailers)
    }

    private fun watched(changes: Int): List<String> = runBlocking {
        withTimeout(30_000) {
            phone.enrol(EnrolmentLink.parse("http://127.0.0.1:${server.port}/enrol#0123456789abcdef"), Device.getDefaultInstance())
            phone.incidents.watch().take(changes).toList().map {
                when (it) {
                    is Change.Listed -> "listed " + it.incidents.joinToString { i -> "${i.name.substringAfter('/')}${i.revision}" }
                    is Change.Changed -> "${it.incident.name.substringAfter('/')}${it.incident.revision}"
                    is Change.Line -> if (it.live) "live" else "down ${it.error?.reason.orEmpty()}".trim()
                }
            }
        }
    }

    @Test
    fun `a cursor that is too old lists again`() {
        fake.stream = { cursor ->
            if (cursor == "list1") throw failed(Status.OUT_OF_RANGE, "CURSOR_TOO_OLD")
            emit(change("c1", "b", 2))
        }
        assertEquals(listOf("listed a3, b1", "live", "listed a3, b1", "b2"), watched(4))
        assertEquals(listOf("list1", "list2"), fake.cursors)
    }

    @Test
    fun `it goes on from the last cursor, and tells nothing twice`() {
        fake.stream = { cursor ->
            when (cursor) {
                "list1" -> {
                    emit(change("c1", "a", 3)) // as it was listed
                    emit(change("c2", "a", 4))
                    throw failed(Status.UNAVAILABLE, "SERVER_DRAINING")
                }
                "c2" -> {
                    emit(change("c2", "a", 4)) // again
                    emit(change("c3", "b", 2))
                }
            }
        }
        assertEquals(listOf("listed a3, b1", "live", "a4", "down SERVER_DRAINING", "live", "b2"), watched(6))
        assertEquals(listOf("list1", "c2"), fake.cursors)
    }

    @Test
    fun `who is signed out is told, and not listed again`() {
        fake.stream = { throw failed(Status.UNAUTHENTICATED, "CREDENTIAL_INVALID") }
        assertThrows(TocsinException.SignedOut::class.java) { watched(3) }
        assertEquals(null, phone.person())
    }
}
