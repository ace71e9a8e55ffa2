#pragma once
#define PEGASUS_VERSION "2.5.0"
