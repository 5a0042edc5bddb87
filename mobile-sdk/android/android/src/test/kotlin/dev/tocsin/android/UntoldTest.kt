// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import dev.tocsin.Storage
import java.io.IOException
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Test

class UntoldTest {
    private class Disk : Storage {
        val files = HashMap<String, ByteArray>()
        var full = false

        override fun read(name: String) = files[name]

        override fun write(name: String, content: ByteArray) {
            if (full) throw IOException("no space left on device")
            files[name] = content
        }

        override fun delete(name: String) {
            files.remove(name)
        }
    }

    private val disk = Disk()
    private val untold = Untold(disk)

    @Test
    fun `what changes under a call is told by the next`() {
        untold.token = "one"
        untold.add()
        val told = untold.wish()!!
        untold.token = "two" // while the server is told of the first
        untold.add()
        untold.told(told)
        assertNotNull("the second waits", untold.wish())
        untold.told(untold.wish()!!)
        assertNull(untold.wish())
        assertEquals("two", Untold(disk).token)
    }

    @Test
    fun `a full disk loses no token while the app lives`() {
        untold.token = "one"
        disk.full = true
        untold.token = "two"
        untold.add()
        assertEquals("two", untold.token)
        assertNotNull(untold.wish())
        disk.full = false
        untold.token = "three"
        assertEquals("three", Untold(disk).token)
        untold.told(untold.wish()!!)
        assertNull(untold.wish())
    }
}
