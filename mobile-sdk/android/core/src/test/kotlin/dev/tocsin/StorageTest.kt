// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import java.io.File
import java.io.IOException
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class StorageTest {
    @get:Rule
    val folder = TemporaryFolder()

    @Test
    fun `a write that fails leaves what was there`() {
        val directory = File(folder.root, "kept")
        val storage = FileStorage(directory)
        assertNull(storage.read("taps"))
        storage.write("taps", byteArrayOf(1, 2))
        assertArrayEquals(byteArrayOf(1, 2), storage.read("taps"))
        // Where the next content would be written, nothing can be: as on a disk that is full.
        File(directory, "taps.next").mkdir()
        File(directory, "taps.next/x").createNewFile()
        assertThrows(IOException::class.java) { storage.write("taps", byteArrayOf(3)) }
        assertArrayEquals(byteArrayOf(1, 2), storage.read("taps"))
        storage.delete("taps")
        storage.delete("taps")
        assertNull(storage.read("taps"))
    }

    @Test
    fun `what nobody can read is as if it were not there`() {
        val disk = Disk().apply { files["clock"] = byteArrayOf(-1, -1, -1) }
        val clock = ServerClock(FakeClock(), disk)
        assertEquals(FakeClock().wall(), clock.now())
    }
}

/** Clocks that a test sets. */
internal class FakeClock(var wall: Long = 1_800_000_000_000, var elapsed: Long = 5_000, override var boot: String = "first") : Clock {
    override fun wall() = wall

    override fun elapsed() = elapsed

    fun pass(ms: Long) {
        wall += ms
        elapsed += ms
    }
}

class ClockTest {
    private val hour = 3_600_000L

    @Test
    fun `the server's time holds when the phone is set otherwise, and after a restart`() {
        val disk = Disk()
        val phone = FakeClock()
        val truth = phone.wall + hour // the phone is an hour behind
        val clock = ServerClock(phone, disk)
        assertEquals(phone.wall, clock.now())
        phone.pass(100)
        clock.learn(truth, phone.elapsed - 100, 0)
        assertEquals(truth + 50, clock.now())
        assertEquals(hour - 50, clock.offset())
        phone.wall -= 7 * hour // somebody sets it
        phone.pass(1_000)
        assertEquals(truth + 1_050, clock.now())
        // The app is started again, and then the phone.
        assertEquals(truth + 1_050, ServerClock(phone, disk).now())
        phone.wall += 7 * hour
        phone.elapsed = 3
        phone.boot = "second"
        assertEquals(truth + 1_050, ServerClock(phone, disk).now())
    }

    @Test
    fun `a clock that is set right is not off after the next start`() {
        val disk = Disk()
        val phone = FakeClock()
        val truth = phone.wall + hour // the phone is an hour behind
        val clock = ServerClock(phone, disk)
        assertEquals("nobody has told it", false, clock.certain)
        clock.learn(truth, phone.elapsed, 0)
        assertEquals(true, clock.certain)
        phone.wall += hour // the network sets it right
        phone.pass(1_000)
        clock.learn(truth + 1_500, phone.elapsed, 1_000) // no news of the server's time
        assertEquals(truth + 1_000, clock.now())
        phone.elapsed = 3
        phone.boot = "second"
        val again = ServerClock(phone, disk)
        assertEquals(truth + 1_000, again.now())
        assertEquals("nor by an answer since the start", false, again.certain)
    }

    @Test
    fun `what is coarse does not move what is known well`() {
        val phone = FakeClock()
        val clock = ServerClock(phone, Disk())
        clock.learn(phone.wall + hour, phone.elapsed, 0)
        val now = clock.now()
        clock.learn((now / 1_000) * 1_000, phone.elapsed, 1_000)
        assertEquals(now, clock.now())
        clock.learn(now + 60_000, phone.elapsed, 1_000)
        assertEquals(now + 60_500, clock.now())
    }
}

class LinkTest {
    private val code = "0123456789abcdef0123456789abcdef"

    @Test
    fun `reads links`() {
        assertEquals("https://page.example.org", EnrolmentLink.parse(" https://Page.Example.org/enrol#$code ").origin.toString())
        assertEquals("https://page.example.org:8443", EnrolmentLink.parse("https://page.example.org:8443/enrol#$code").origin.toString())
        assertEquals("http://127.0.0.1:8080", EnrolmentLink.parse("http://127.0.0.1:8080/enrol#$code").origin.toString())
        assertEquals(code, EnrolmentLink.parse("https://page.example.org/enrol#$code").code)
    }

    @Test
    fun `says what is wrong with others`() {
        for ((link, wrong) in mapOf(
            "" to "begins with https",
            "page.example.org/enrol#$code" to "begins with https",
            "tel:112" to "begins with https",
            "http://page.example.org/enrol#$code" to "by https",
            "https://a:b@page.example.org/enrol#$code" to "no user",
            "https://page.example.org/enrol" to "cut short",
            "https://page.example.org/enrol#abc" to "cut short",
            "https://page.example.org/#$code" to "not /enrol",
            "https:///enrol#$code" to "",
            "https://pa ge/enrol#$code" to "no link",
        )) {
            val e = assertThrows(link, IllegalArgumentException::class.java) { EnrolmentLink.parse(link) }
            assertEquals("$link: ${e.message}", true, wrong in e.message.orEmpty())
        }
    }
}
