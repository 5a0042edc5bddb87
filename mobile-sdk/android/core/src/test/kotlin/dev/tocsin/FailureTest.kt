// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import dev.tocsin.TocsinException.Gone
import dev.tocsin.TocsinException.Mistake
import dev.tocsin.TocsinException.Moved
import dev.tocsin.TocsinException.NotAllowed
import dev.tocsin.TocsinException.NotNow
import dev.tocsin.TocsinException.OpenApp
import dev.tocsin.TocsinException.ServerFault
import dev.tocsin.TocsinException.SignedOut
import dev.tocsin.TocsinException.Unreachable
import dev.tocsin.TocsinException.Wait
import io.grpc.Metadata
import io.grpc.Status
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class FailureTest {
    /** The word of mobile-sdk/README.md, 6, for each failure. */
    private fun word(e: TocsinException) = when (e) {
        is Mistake -> "fix"
        is NotNow -> "refresh"
        is SignedOut -> "sign_in"
        is NotAllowed -> "deny"
        is Gone -> "remove"
        is Moved -> "decide"
        is Wait -> "wait"
        is ServerFault, is Unreachable -> "retry"
        is OpenApp -> "open"
        else -> "?"
    }

    @Test
    fun `says what to do`() {
        for (file in listOf("errors.json", "actions.json", "receipts.json")) {
            for (case in Vectors.cases(file).filter { it["status"].asInt != 200 }) {
                val e = Vectors.failure(case)
                val got = TocsinException.of(e.status, e.trailers, e)
                assertEquals("$file, ${case.text("name")}: $got", case.text("do"), word(got))
            }
        }
    }

    @Test
    fun `carries what is in it`() {
        val cases = Vectors.cases("errors.json").associateBy { it.text("name") }
        fun of(name: String) = Vectors.failure(cases.getValue(name)).let { TocsinException.of(it.status, it.trailers, it) }
        assertEquals(mapOf("duration" to "must be greater than 0s and less than or equal to 604800s"), (of("a wrong field") as Mistake).fields)
        assertEquals("REVISION_MOVED", of("changed meanwhile").reason)
        assertEquals("vector", of("changed meanwhile").requestId)
        assertEquals(3_000, (of("too many calls") as Wait).afterMs)
        assertEquals(120_000, (of("a page of a proxy that is busy") as Wait).afterMs)
    }

    @Test
    fun `nobody is signed out by what is not tocsin`() {
        for (status in listOf(Status.UNAUTHENTICATED, Status.PERMISSION_DENIED, Status.UNIMPLEMENTED, Status.UNAVAILABLE)) {
            val got = TocsinException.of(status, Metadata(), Exception())
            assertTrue("$status is $got", got is Unreachable && got.passes)
        }
    }

    @Test
    fun `details that cannot be read say nothing`() {
        val trailers = Metadata()
        trailers.put(Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER), byteArrayOf(-1, 7, 7))
        assertTrue(TocsinException.of(Status.INTERNAL, trailers, Exception()) is ServerFault)
    }
}
