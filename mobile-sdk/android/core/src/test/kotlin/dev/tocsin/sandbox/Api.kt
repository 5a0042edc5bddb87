// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.sandbox

import java.io.File
import org.jetbrains.kotlin.abi.tools.AbiFilters
import org.jetbrains.kotlin.abi.tools.AbiTools
import org.junit.Assert.assertEquals

/** What is public in a module, as a file that is committed: whoever changes it says so. */
object Api {
    /** Compares the classes of this module with [file], or writes it when `api.update` is set. */
    fun compare(file: File) {
        val classes = File("target/classes").walkTopDown().filter { it.extension == "class" }.sortedBy { it.path }.toList()
        // What is generated out of the protos is held together by buf.
        val filters = AbiFilters(emptySet(), setOf("dev.tocsin.v1.**", "dev.tocsin.kept.**", "dev.tocsin.failure.**"), emptySet(), emptySet())
        val got = StringBuilder().also { AbiTools.getInstance().printJvmDump(it, classes, filters) }.toString()
        if (System.getProperty("api.update") == "true") file.writeText(got)
        assertEquals("what is public has changed; when that is meant: mobile-sdk/android/test -update", file.readText(), got)
    }
}
