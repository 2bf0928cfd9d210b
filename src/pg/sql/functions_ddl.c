/*
 * functions_ddl.c
 *		onboard_ddl(): the statement that makes an export readable elsewhere.
 *
 * src/pg/sql/functions_ddl.c
 */
#include "postgres.h"

#include "access/xact.h"
#include "funcapi.h"
#include "utils/fmgrprotos.h"

#include "pg/base/query.h"
#include "pg/catalog/registry.h"
#include "pg/ddl/ddl.h"
#include "pg/export/task.h"
#include "pg/sql/functions.h"

PG_FUNCTION_INFO_V1(onboard_ddl);

/* onboard_ddl(name, query, bucket, options, dialect) -> a statement */
Datum
onboard_ddl(PG_FUNCTION_ARGS)
{
	char *dialect = text_argument(fcinfo, 4);
	ObExportRequest request = {.options_for = OB_OPTIONS_TABLE};
	ObExportSpec export = {.lsn = 0};
	ObLanding landing;

	request.name = ob_export_name_argument(fcinfo, 0);
	request.query = text_argument(fcinfo, 1);
	request.bucket = text_argument(fcinfo, 2);
	request.options = jsonb_argument(fcinfo, 3);
	request.schema = own_schema(fcinfo);
	request.entry = ob_registry_find(request.schema, request.name);
	request.when = GetCurrentTransactionStartTimestamp();
	ob_task_aim(&request, &export);
	landing = (ObLanding){
		.name = request.name,
		.options = export.options,
		.server = export.server,
		.bucket = export.bucket,
		.key = ob_task_key_pieces(&request, export.options, export.server),
		.columns = ob_query_describe(export.query),
	};
	PG_RETURN_TEXT_P(cstring_to_text(ob_ddl(&landing, dialect)));
}
